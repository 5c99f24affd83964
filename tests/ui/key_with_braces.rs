use memocached::memcached;

#[memcached(key = "user:{id}")]
fn user(id: u64) -> u64 {
    id
}

fn main() {
    user(1);
}
