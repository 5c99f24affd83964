use memocached::memcached;

#[memcached(key = "f:<n>")]
async fn f(n: u64) -> u64 {
    if n > 1 {
        return "many";
    }
    n
}

fn main() {}
