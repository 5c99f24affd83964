use memocached::memcached;

#[memcached(key = "f:<n>", ttl = 5 * 60)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
