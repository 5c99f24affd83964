use memocached::memcached;

#[memcached(key = "f")]
fn f() -> fn() -> u64 {
    || 1
}

fn main() {}
