use memocached::memcached;

#[derive(serde::Serialize)]
struct Answer(u64);

#[memcached(key = "f:<n>")]
fn f(n: u64) -> Answer {
    Answer(n)
}

fn main() {
    f(1);
}
