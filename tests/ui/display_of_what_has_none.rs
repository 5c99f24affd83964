use memocached::memcached;

#[memcached(key = "f:<n:display>")]
fn f(n: Vec<u64>) -> u64 {
    n[0]
}

fn main() {
    f(vec![1]);
}
