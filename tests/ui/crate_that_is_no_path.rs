use memocached::memcached;

#[memcached(key = "f:<n>", crate = "memocached")]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
