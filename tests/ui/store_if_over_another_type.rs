use memocached::memcached;

#[memcached(key = "f:<n>", store_if = |text: &String| !text.is_empty())]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
