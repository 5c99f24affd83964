use memocached::memcached;

#[memcached(key = "f:<n>", on_error = ignore)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
