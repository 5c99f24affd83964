use memocached::memcached;

struct Point;

#[memcached]
fn f(n: u64, point: &Point) -> u64 {
    let _ = point;
    n
}

fn main() {
    f(1, &Point);
}
