use memocached::{KeyPart, group, memcached};

trait Area: KeyPart {
    fn kind(&self) -> u8;
}

#[memcached(key = "area:<shape>")]
fn area(shape: &dyn Area) -> u8 {
    shape.kind()
}

#[memcached]
fn areas(shapes: &[Box<dyn Area>], _unread: &dyn Area) -> usize {
    shapes.len()
}

#[memcached(key = "told:<shape.kind()>:<other.kind()>", skip(skipped))]
fn told(shape: &dyn Area, other: &dyn Area, skipped: &dyn Area) -> u8 {
    shape.kind() + other.kind() + skipped.kind()
}

group! {
    fn shapes(shape: &dyn Area) = "shape:<shape>";
}

fn main() {}
