use std::collections::HashSet;

use memocached::memcached;

#[memcached(key = "user:<id>", each(id in ids))]
fn users(ids: HashSet<u64>) -> Vec<u64> {
    ids.into_iter().collect()
}

fn main() {
    users(HashSet::from([1]));
}
