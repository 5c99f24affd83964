use memocached::{memcached, updates};

#[memcached(key = "f:<n>", entry = f_entry)]
async fn f(n: u64) -> u64 {
    n
}

#[updates(f_entry(n))]
async fn change(n: u64) -> String {
    n.to_string()
}

fn main() {}
