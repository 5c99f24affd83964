use memocached::memcached;

struct Secret;

#[memcached(key = "f:<n>")]
async fn f(n: u64) -> Option<Secret> {
    (n > 1).then_some(Secret)
}

fn main() {
    let _ = f(1);
}
