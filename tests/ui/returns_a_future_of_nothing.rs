use memocached::memcached;

#[memcached(key = "f:<n>")]
fn f(n: u64) -> impl Future<Output = ()> {
    async move { println!("{n}") }
}

fn main() {}
