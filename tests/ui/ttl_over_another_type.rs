use memocached::memcached;

#[memcached(key = "f:<n>", ttl = |text: &String| 5)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    let _ = f(1);
}
