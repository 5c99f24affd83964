use memocached::memcached;

#[memcached(key = "<n>", ttl = "5m", idle = "1m", refresh_ahead = "10s")]
fn f(n: u8) -> u8 {
    n
}

#[memcached(key = "g:<n>", ttl = "5m", idle = "1m", refresh_ahead = auto)]
fn g(n: u8) -> u8 {
    n
}

fn main() {
    f(g(1));
}
