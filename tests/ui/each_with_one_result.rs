use memocached::memcached;

#[memcached(key = "sum:<id>", each(id in ids))]
fn sum(ids: &[u64]) -> u64 {
    ids.iter().sum()
}

fn main() {
    sum(&[1]);
}
