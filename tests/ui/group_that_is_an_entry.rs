use memocached::memcached;

#[memcached(key = "f:<n>", group = [f_entry(n)], entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
