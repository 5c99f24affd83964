use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(after = f_entry)]
fn change() -> u64 {
    1
}

fn main() {
    change();
}
