use memocached::memcached;

#[memcached(key = "f:<n>", refresh_ahead = true)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
