use memocached::memcached;

trait T {
    #[memcached(key = "f:<n>")]
    fn f(n: u64) -> u64;
}

fn main() {}
