use memocached::memcached;

struct Id;

#[memcached(key = "f:<ids:display>")]
fn f(ids: Vec<Id>) -> usize {
    ids.len()
}

fn main() {
    f(vec![Id]);
}
