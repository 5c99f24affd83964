use memocached::memcached;

#[memcached(key = "<n>", ttl = "5m", previous = old)]
fn f(n: u8) -> u8 {
    old.map_or(n, |old| old.unchanged())
}

fn main() {
    f(1);
}
