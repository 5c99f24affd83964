use memocached::{group, memcached};

group! {
    fn team(id: u64) = "team:<id>";
}

#[memcached(key = "f:<n>", group = team(n), codec = bare_json)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
