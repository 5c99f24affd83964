use memocached::memcached;

#[memcached(key = "user:<name>:<id>", each(id in ids))]
fn users(name: String, ids: &[u64]) -> Vec<u64> {
    let length = name.into_bytes().len() as u64;
    ids.iter().map(|id| id + length).collect()
}

fn main() {
    users("a".to_owned(), &[1]);
}
