use memocached::updates;

#[updates(g_entry(n))]
fn change(n: u64) -> u64 {
    n
}

fn main() {}
