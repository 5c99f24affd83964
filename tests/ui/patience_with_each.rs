use memocached::memcached;

#[memcached(key = "f:<n>", each(n in all), grace = 60, patience = "50ms")]
async fn f(all: Vec<u64>) -> Vec<u64> {
    all
}

fn main() {
    let _ = f(vec![1]);
}
