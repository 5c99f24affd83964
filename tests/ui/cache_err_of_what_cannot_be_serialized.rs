use memocached::memcached;

#[memcached(key = "f:<n>", cache_err = 5)]
fn f(n: u8) -> Result<u8, std::io::Error> {
    Ok(n)
}

fn main() {
    let _ = f(1);
}
