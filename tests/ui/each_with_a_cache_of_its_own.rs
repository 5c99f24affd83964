use memocached::{Cache, memcached};

#[memcached(key = "user:<id>", each(id in ids), cache = &caches[*id as usize], skip(caches))]
fn users(caches: &[Cache], ids: &[u64]) -> Vec<u64> {
    ids[caches.len()..].to_vec()
}

fn main() {
    users(&[], &[1]);
}
