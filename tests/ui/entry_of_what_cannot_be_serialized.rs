use memocached::memcached;

struct Handle(#[allow(dead_code)] std::fs::File);

#[memcached(key = "f:<n>", entry = f_entry)]
fn f(n: u64) -> Handle {
    unreachable!("{n}")
}

fn main() {
    f(1);
}
