use memocached::memcached;

#[memcached(key = "f:<n>", codec = text, cache_none = 10)]
fn f(n: u64) -> Option<u64> {
    Some(n)
}

fn main() {
    f(1);
}
