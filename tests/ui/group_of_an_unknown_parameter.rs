use memocached::group;

group! {
    fn team(id: u64) = "team:<ident>";
}

fn main() {
    let _ = team(1);
}
