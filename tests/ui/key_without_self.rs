use memocached::memcached;

struct S(u64);

impl S {
    #[memcached(key = "f")]
    fn f(&self) -> u64 {
        self.0
    }
}

fn main() {
    S(1).f();
}
