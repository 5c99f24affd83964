use memocached::memcached;

#[memcached(key = "f:<n>")]
impl S {}

struct S;

fn main() {}
