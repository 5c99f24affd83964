use memocached::memcached;

#[memcached(key = "f:<n>", ttl = forever, grace = "1h")]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
