use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(f_entry())]
fn change(n: u64) {
    println!("{n}");
}

fn main() {
    change(1);
}
