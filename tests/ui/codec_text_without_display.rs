use memocached::memcached;

#[memcached(key = "f:<n>", codec = text)]
fn f(n: u64) -> Vec<u64> {
    vec![n]
}

fn main() {
    f(1);
}
