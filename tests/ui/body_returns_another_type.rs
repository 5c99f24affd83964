use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64) -> u64 {
    if n > 1 {
        return "many";
    }
    n
}

fn main() {}
