use memocached::memcached;

#[memcached(key = "<n>", ttl = "5m", idle = "1m", codec = text)]
fn f(n: u8) -> u8 {
    n
}

#[memcached(key = "g:<n>", ttl = "5m", grace = |n| u64::from(*n), codec = bare_json)]
fn g(n: u8) -> u8 {
    n
}

fn main() {
    f(g(1));
}
