use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64, _m: u64) -> u64 {
    n + _m
}

fn main() {
    f(1, 2);
}
