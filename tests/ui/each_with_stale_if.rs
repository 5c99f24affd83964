use std::collections::HashMap;

use memocached::memcached;

#[memcached(key = "f:<n>", each(n in numbers), grace = 60, stale_if = |_: &String| true)]
fn f(numbers: &[u64]) -> Result<HashMap<u64, u64>, String> {
    Ok(numbers.iter().map(|n| (*n, *n)).collect())
}

fn main() {
    let _ = f(&[1]);
}
