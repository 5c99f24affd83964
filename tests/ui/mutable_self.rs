use memocached::memcached;

struct S(u64);

impl S {
    #[memcached(key = "f")]
    fn f(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

fn main() {}
