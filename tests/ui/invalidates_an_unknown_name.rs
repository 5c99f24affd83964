use memocached::invalidates;

#[invalidates(g_entry(n))]
fn change(n: u64) {
    println!("{n}");
}

fn main() {
    change(1);
}
