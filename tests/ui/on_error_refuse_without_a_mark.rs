use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(f_entry(n), mark = off, on_error = refuse)]
fn change(n: u64) -> Result<(), memocached::Error> {
    println!("{n}");
    Ok(())
}

fn main() {}
