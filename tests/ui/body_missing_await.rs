use memocached::memcached;

#[memcached(key = "f:<n>")]
async fn f(n: u64) -> u64 {
    async { n }
}

fn main() {}
