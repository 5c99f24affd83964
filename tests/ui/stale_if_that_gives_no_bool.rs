use memocached::memcached;

#[memcached(key = "f:<n>", grace = 60, stale_if = |error| error.len())]
fn f(n: u64) -> Result<u64, String> {
    Ok(n)
}

fn main() {
    let _ = f(1);
}
