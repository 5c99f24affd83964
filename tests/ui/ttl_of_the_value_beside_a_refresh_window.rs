use memocached::memcached;

#[memcached(key = "f:<n>", ttl = |value| *value, refresh_ahead = 10)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    let _ = f(1);
}
