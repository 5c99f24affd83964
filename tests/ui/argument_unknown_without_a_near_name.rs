use memocached::memcached;

#[memcached(colour = "f:<n>")]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
