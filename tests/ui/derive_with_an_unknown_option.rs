use memocached::KeyPart;

#[derive(KeyPart)]
struct Point {
    #[key(ignore)]
    x: f64,
    y: u8,
}

fn main() {}
