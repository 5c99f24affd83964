use memocached::memcached;

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> Option<u64> {
    n.checked_add(1)
}

fn main() {
    f_entry(1).put(&"two").unwrap();
}
