use memocached::memcached;

#[memcached(time = 60, size = 9, key = "f:<n>", sync_writes = "by_key", result = true)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
