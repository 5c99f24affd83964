use memocached::memcached;

#[memcached(key = "f:<n>", at_most = n)]
fn f(n: usize) -> usize {
    n
}

fn main() {
    let _ = f(1);
}
