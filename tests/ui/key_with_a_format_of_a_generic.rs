use memocached::memcached;

#[memcached(key = "of:<n>:<N:bits>")]
fn of<const N: usize>(n: u32) -> u32 {
    n
}

fn main() {
    of::<3>(1);
}
