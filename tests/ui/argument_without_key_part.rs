use memocached::memcached;

struct Point;

#[memcached(key = "f:<point>")]
fn f(point: Point) -> u64 {
    drop(point);
    1
}

fn main() {
    f(Point);
}
