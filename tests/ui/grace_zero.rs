use memocached::memcached;

#[memcached(key = "f:<n>", grace = 0)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
