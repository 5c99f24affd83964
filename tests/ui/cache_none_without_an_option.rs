use memocached::memcached;

#[memcached(key = "f:<n>", cache_none = 5)]
fn f(n: u8) -> u8 {
    n
}

fn main() {
    f(1);
}
