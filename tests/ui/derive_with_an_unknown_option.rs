use memocached::KeyPart;

#[derive(KeyPart)]
struct Point {
    #[key(disply)]
    x: u8,
    #[key(ignore)]
    y: u8,
}

fn main() {}
