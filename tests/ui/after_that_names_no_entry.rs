use memocached::invalidates;

#[invalidates(after = |n: &u64| *n)]
fn change() -> u64 {
    1
}

fn main() {
    change();
}
