use memocached::invalidates;

#[invalidates(vec![n, n + 1])]
fn change(n: u64) {
    println!("{n}");
}

fn main() {
    change(1);
}
