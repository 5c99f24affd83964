use memocached::memcached;

#[memcached(key = "<n><m>")]
fn f(n: u64, m: u64) -> u64 {
    n + m
}

fn main() {
    f(1, 2);
}
