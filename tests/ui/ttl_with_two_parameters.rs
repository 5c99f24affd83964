use memocached::memcached;

#[memcached(key = "f:<n>", ttl = |a, b| a + b)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    let _ = f(1);
}
