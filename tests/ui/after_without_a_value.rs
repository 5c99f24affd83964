use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(after = |n| f_entry(*n))]
fn change() {}

fn main() {
    change();
}
