use memocached::memcached;

#[memcached(key = 5)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
