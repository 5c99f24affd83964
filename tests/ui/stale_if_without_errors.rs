use memocached::memcached;

#[memcached(key = "f:<n>", grace = 60, stale_if = |_| true)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    let _ = f(1);
}
