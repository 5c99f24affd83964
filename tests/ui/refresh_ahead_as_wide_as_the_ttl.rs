use memocached::memcached;

#[memcached(key = "f:<n>", ttl = "1m", refresh_ahead = 60)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
