use memocached::{group, memcached};

group! {
    fn team(id: u64) = "team:<id>";
}

#[memcached(key = "f:<n>", group = team(n.to_string()), entry = f_entry)]
fn f(n: u64) -> u64 {
    n
}

fn main() {
    f(1);
}
