use memocached::{memcached, updates};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[updates(f_entry(n), on_error = refuse)]
async fn change(n: u64) -> std::io::Result<u64> {
    Ok(n)
}

fn main() {}
