use memocached::group;

group! {
    fn team(id: u64, region: &str) = "team:<id>";
}

fn main() {
    let _ = team(1, "eu");
}
