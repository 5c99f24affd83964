use memocached::memcached;

#[memcached(key = "f:<n>")]
extern "C" fn f(n: u64) -> u64 {
    n
}

fn main() {}
