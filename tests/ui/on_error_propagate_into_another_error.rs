use memocached::memcached;

#[memcached(key = "f:<n>", on_error = propagate)]
fn f(n: u64) -> Result<u64, String> {
    Ok(n)
}

fn main() {
    let _ = f(1);
}
