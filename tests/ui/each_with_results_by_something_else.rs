use std::collections::HashMap;

use memocached::memcached;

#[memcached(key = "user:<id>", each(id in ids))]
fn users(ids: &[u64]) -> HashMap<String, u64> {
    ids.iter().map(|id| (id.to_string(), *id)).collect()
}

fn main() {
    users(&[1]);
}
