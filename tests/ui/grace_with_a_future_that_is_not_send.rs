use memocached::memcached;

#[memcached(key = "f:<n>", grace = 5)]
async fn f(n: u8) -> u8 {
    let local = std::rc::Rc::new(n);
    std::future::ready(()).await;
    *local
}

fn main() {
    drop(f(1));
}
