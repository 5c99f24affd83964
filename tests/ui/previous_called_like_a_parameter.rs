use memocached::memcached;

#[memcached(key = "<n>", ttl = "5m", grace = "1h", previous = n)]
fn f(n: u8) -> u8 {
    n
}

fn main() {
    f(1);
}
