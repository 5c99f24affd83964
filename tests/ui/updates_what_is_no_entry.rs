use memocached::updates;

#[updates(n)]
fn change(n: u64) -> u64 {
    n
}

fn main() {}
