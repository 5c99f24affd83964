use memocached::memcached;

#[memcached(key = "f:<n>")]
struct S;

fn main() {}
