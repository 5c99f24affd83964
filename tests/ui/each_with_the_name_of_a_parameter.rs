use memocached::memcached;

#[memcached(key = "user:<tenant>:<ids>", each(tenant in ids))]
fn users(tenant: u8, ids: &[u64]) -> Vec<u64> {
    ids.iter().map(|id| id + u64::from(tenant)).collect()
}

fn main() {
    users(1, &[1]);
}
