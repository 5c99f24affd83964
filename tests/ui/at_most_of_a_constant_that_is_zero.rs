use memocached::memcached;

const LIMIT: usize = 0;

#[memcached(key = "f:<n>", at_most = LIMIT)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    let _ = f(1);
}
