use memocached::memcached;

#[memcached(key = "f:<n>", cache_none = -1)]
fn f(n: u64) -> Option<u64> {
    Some(n)
}

fn main() {
    f(1);
}
