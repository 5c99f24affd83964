use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(f_entry(n), on_error = refuse)]
fn change(n: u64) -> Result<u64, String> {
    Ok(n)
}

fn main() {}
