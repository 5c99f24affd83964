use memocached::memcached;

#[memcached(key = "<n>", ttl = "5m", grace = |n| *n > 0)]
fn f(n: u8) -> u8 {
    n
}

fn main() {
    f(1);
}
