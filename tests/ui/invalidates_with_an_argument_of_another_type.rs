use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(f_entry(name))]
fn change(name: &str) {
    println!("{name}");
}

fn main() {
    change("a");
}
