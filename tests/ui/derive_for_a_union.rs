use memocached::KeyPart;

#[derive(KeyPart)]
union U {
    a: u8,
    b: i8,
}

fn main() {}
