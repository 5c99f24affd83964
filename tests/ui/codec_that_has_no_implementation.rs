use memocached::memcached;

struct Mine;

#[memcached(key = "f:<n>", codec = Mine)]
fn f(n: u64) -> u64 {
    n
}

fn main() {}
