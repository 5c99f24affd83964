use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64) -> ! {
    panic!("{n}")
}

fn main() {}
