use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(after = |n: u64| f_entry(n))]
fn change() -> Option<u64> {
    Some(1)
}

fn main() {
    change();
}
