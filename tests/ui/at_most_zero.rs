use memocached::memcached;

#[memcached(key = "f:<n>", at_most = 0)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    let _ = f(1);
}
