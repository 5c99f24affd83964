use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

fn main() {}
