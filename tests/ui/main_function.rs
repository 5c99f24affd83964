use memocached::memcached;

#[memcached]
fn main() -> Result<(), String> {
    Ok(())
}
