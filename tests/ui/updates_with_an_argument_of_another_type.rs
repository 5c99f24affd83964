use memocached::{memcached, updates};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[updates(f_entry(n.to_string()))]
fn change(n: u64) -> u64 {
    n
}

fn main() {}
