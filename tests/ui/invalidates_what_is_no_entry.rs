use memocached::invalidates;

#[invalidates(n)]
fn change(n: u64) {
    println!("{n}");
}

fn main() {
    change(1);
}
