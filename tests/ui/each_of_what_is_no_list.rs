use memocached::memcached;

#[memcached(key = "user:<id>", each(id in ids))]
fn users(ids: u64) -> Vec<u64> {
    vec![ids]
}

fn main() {
    users(1);
}
