use memocached::memcached;

#[memcached(key = "<n>", ttl = "5m", idle = "5m")]
fn f(n: u8) -> u8 {
    n
}

fn main() {
    f(1);
}
