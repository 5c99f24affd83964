use memocached::memcached;

#[memcached(key = "user:<id>", each(id in ids))]
fn users<I: IntoIterator<Item = u64>>(ids: I) -> Vec<u64> {
    ids.into_iter().collect()
}

fn main() {
    users([1]);
}
