use memocached::memcached;

#[memcached(key = "user:<id>", each(id in ids))]
fn users((ids, _): (Vec<u64>, u8)) -> Vec<u64> {
    ids
}

fn main() {
    users((vec![1], 2));
}
