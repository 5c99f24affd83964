use memocached::memcached;

const MINUTES: u32 = 5;

#[memcached(key = "f:<n>", ttl = MINUTES * 60)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
