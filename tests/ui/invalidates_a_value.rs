use memocached::{invalidates, memcached};

#[memcached(key = "f:<n>")]
fn f(n: u64) -> u64 {
    n
}

#[invalidates(f(n))]
fn change(n: u64) {
    println!("{n}");
}

fn main() {
    change(1);
}
