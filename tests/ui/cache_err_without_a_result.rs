use memocached::memcached;

#[memcached(key = "f:<n>", cache_err = 5)]
fn f(n: u8) -> Option<u8> {
    Some(n)
}

fn main() {
    f(1);
}
