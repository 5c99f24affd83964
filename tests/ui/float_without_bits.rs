use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: f64) -> u64 {
    n as u64
}

fn main() {
    f(1.5);
}
