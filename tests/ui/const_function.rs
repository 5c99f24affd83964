use memocached::memcached;

#[memcached(key = "f:<n>")]
const fn f(n: u64) -> u64 {
    n
}

fn main() {}
