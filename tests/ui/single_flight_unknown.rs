use memocached::memcached;

#[memcached(key = "f:<n>", single_flight = leese)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
