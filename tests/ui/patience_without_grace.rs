use memocached::memcached;

#[memcached(key = "f:<n>", patience = "50ms")]
async fn f(n: u64) -> u64 {
    n
}

fn main() {
    let _ = f(1);
}
