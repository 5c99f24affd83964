use memocached::memcached;

#[memcached(key = "user:<id>", each(id, ids))]
fn users(ids: &[u64]) -> Vec<u64> {
    ids.to_vec()
}

fn main() {
    users(&[1]);
}
