use memocached::memcached;

#[memcached(key = "f:<n>")]
async fn f(n: String) -> Result<u64, std::num::ParseFloatError> {
    let n: u64 = n.parse()?;
    Ok(n)
}

fn main() {}
