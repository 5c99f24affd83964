use memocached::memcached;

#[memcached(key = "f:<n>", cache_err = |error: &u8| 5)]
fn f(n: u64) -> Result<u64, String> {
    Ok(n)
}

fn main() {
    let _ = f(1);
}
