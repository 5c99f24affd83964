use memocached::memcached;

#[memcached(key = "f:<n>", group = "all")]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
