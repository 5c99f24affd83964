use memocached::memcached;

#[memcached(key = "f:<n>", cache_err = "soon")]
fn f(n: u64) -> Result<u64, String> {
    Ok(n)
}

fn main() {
    f(1);
}
