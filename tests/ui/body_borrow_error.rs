use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: Vec<u64>) -> u64 {
    let first = &n[0];
    drop(n);
    *first
}

fn main() {}
