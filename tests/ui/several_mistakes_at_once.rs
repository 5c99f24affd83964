use memocached::memcached;

#[memcached(keys = "x", ttl = 0, codec = jsn, skip(q))]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
