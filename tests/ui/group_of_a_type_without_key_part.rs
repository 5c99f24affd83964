use memocached::group;

struct Region;

group! {
    fn region(region: Region) = "region:<region>";
}

fn main() {
    let _ = region(Region);
}
