use memocached::memcached;

#[memcached(key = "f:<>")]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
