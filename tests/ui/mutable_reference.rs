use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64, out: &mut Vec<u64>) -> u64 {
    out.push(n);
    n
}

fn main() {}
