use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64) {
    println!("{n}");
}

fn main() {}
