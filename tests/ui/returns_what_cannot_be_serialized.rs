use memocached::memcached;

struct Secret;

#[memcached(key = "f:<n>")]
fn f(n: u64) -> Result<Secret, String> {
    Err(n.to_string())
}

fn main() {
    let _ = f(1);
}
