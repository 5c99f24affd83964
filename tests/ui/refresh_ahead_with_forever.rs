use memocached::memcached;

#[memcached(key = "f:<n>", ttl = forever, refresh_ahead = auto)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
