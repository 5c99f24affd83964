use memocached::memcached;

#[memcached(key = "f:<n>", version = "2")]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
