use std::fmt::Debug;

use memocached::KeyPart;

trait Area: KeyPart + Debug {}

#[derive(KeyPart)]
struct Shapes<'a> {
    all: &'a [Box<dyn Area>],
    #[key(debug)]
    first: &'a dyn Area,
    #[key(skip)]
    last: &'a dyn Area,
}

fn main() {}
