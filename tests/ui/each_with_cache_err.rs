use memocached::memcached;

#[memcached(key = "user:<id>", each(id in ids), cache_err = 10)]
fn users(ids: &[u64]) -> Result<Vec<u64>, String> {
    Ok(ids.to_vec())
}

fn main() {
    let _ = users(&[1]);
}
