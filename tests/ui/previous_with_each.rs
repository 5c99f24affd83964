use memocached::memcached;

#[memcached(key = "<n>", each(n in numbers), ttl = "5m", grace = "1h", previous = old)]
fn f(numbers: &[u8]) -> Vec<u8> {
    numbers.to_vec()
}

fn main() {
    f(&[1]);
}
