use memocached::{group, updates};

group! {
    fn team(id: u64) = "team:<id>";
}

#[updates(team(n))]
fn change(n: u64) -> u64 {
    n
}

fn main() {}
