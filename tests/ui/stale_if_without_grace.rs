use memocached::memcached;

#[memcached(key = "f:<n>", stale_if = |_| true)]
fn f(n: u64) -> Result<u64, String> {
    Ok(n)
}

fn main() {
    let _ = f(1);
}
