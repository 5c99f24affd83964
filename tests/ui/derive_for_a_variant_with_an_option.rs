#[derive(memocached::KeyPart)]
enum Size {
    Small,
    #[key(skip)]
    Large,
}

#[memocached::memcached(key = "of:<size>")]
fn of(size: Size) -> bool {
    matches!(size, Size::Small)
}

fn main() {
    of(Size::Large);
}
