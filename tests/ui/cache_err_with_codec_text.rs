use memocached::memcached;

#[memcached(key = "f:<n>", codec = text, cache_err = 10)]
fn f(n: u64) -> Result<u64, String> {
    Ok(n)
}

fn main() {
    f(1);
}
