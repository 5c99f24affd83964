use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64) -> Option<&'static str> {
    (n > 1).then_some("many")
}

fn main() {}
