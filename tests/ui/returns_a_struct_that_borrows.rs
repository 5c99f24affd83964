use memocached::memcached;

#[derive(serde::Serialize, serde::Deserialize)]
struct Row<'a>(&'a str);

#[memcached(key = "f:<name>")]
fn f(name: &str) -> Row<'_> {
    Row(name)
}

fn main() {
    f("");
}
