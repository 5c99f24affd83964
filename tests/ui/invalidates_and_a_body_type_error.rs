use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(f_entry(n))]
fn change(n: u64) -> u64 {
    let text: String = n;
    text.len() as u64
}

fn main() {}
