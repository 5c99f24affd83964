use memocached::updates;

#[updates]
fn change() -> u64 {
    1
}

fn main() {
    change();
}
