use memocached::memcached;

#[memcached(key = "user:<id>", each(id in ids))]
fn users(ids: &mut Vec<u64>) -> Vec<u64> {
    ids.clone()
}

fn main() {
    users(&mut vec![1]);
}
