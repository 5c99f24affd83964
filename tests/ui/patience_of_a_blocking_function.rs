use memocached::memcached;

#[memcached(key = "f:<n>", grace = 60, patience = "50ms")]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    let _ = f(1);
}
