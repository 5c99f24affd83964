use memocached::memcached;

#[memcached(key = "user:<ids>", each(id in ids))]
fn users(ids: &[u64]) -> Vec<u64> {
    ids.to_vec()
}

fn main() {
    users(&[1]);
}
