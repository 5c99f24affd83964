use memocached::memcached;

#[memcached(key = "f:<n>", near = "0s")]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
