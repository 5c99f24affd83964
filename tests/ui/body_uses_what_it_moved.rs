use memocached::memcached;

#[memcached(key = "f:<name>")]
fn f(name: String) -> usize {
    drop(name);
    name.len()
}

#[memcached(key = "g:<name>")]
async fn g(name: String) -> usize {
    drop(name);
    name.len()
}

fn main() {}
