use memocached::memcached;

#[memcached(key = "<n>", ttl = "5m", grace = |n| u64::from(*n), refresh_ahead = "10s")]
fn f(n: u8) -> u8 {
    n
}

fn main() {
    f(1);
}
