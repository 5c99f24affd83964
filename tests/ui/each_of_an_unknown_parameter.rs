use std::collections::HashMap;

use memocached::memcached;

#[memcached(key = "user:<id>", each(id in idz))]
fn users(ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, *id)).collect()
}

fn main() {
    users(&[1]);
}
