use memocached::invalidates;

#[invalidates]
fn change() {}

fn main() {
    change();
}
