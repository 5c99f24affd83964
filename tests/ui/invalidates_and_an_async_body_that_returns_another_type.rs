use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(f_entry(n))]
async fn change(n: u64) -> u64 {
    if n > 1 {
        return "many";
    }
    n
}

fn main() {}
