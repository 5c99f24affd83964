use memocached::{memcached, updates};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[updates(f_entry(n))]
fn change(n: u64) -> Result<(), String> {
    if n == 0 { Err("zero".to_owned()) } else { Ok(()) }
}

fn main() {}
