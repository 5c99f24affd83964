use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64) -> *const u64 {
    n as *const u64
}

fn main() {}
