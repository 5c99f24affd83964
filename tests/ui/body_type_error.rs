use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64) -> u64 {
    let text: String = n;
    text.len() as u64
}

fn main() {}
