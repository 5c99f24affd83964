use memocached::invalidates;

#[invalidates(7_u64)]
fn change() {}

fn main() {
    change();
}
