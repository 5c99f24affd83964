use memocached::memcached;

#[memcached(key = "f:<n>", grace = 60, patience = "50ms")]
async fn f(n: &str) -> u64 {
    n.len() as u64
}

fn main() {
    let _ = f("1");
}
