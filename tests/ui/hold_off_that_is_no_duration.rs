use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(f_entry(n), hold_off = n == 2)]
fn change(n: u64) {
    println!("{n}");
}

fn main() {
    change(1);
}
