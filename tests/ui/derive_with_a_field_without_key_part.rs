use memocached::KeyPart;

#[derive(KeyPart)]
struct Point {
    x: f64,
    #[key(bits)]
    y: f64,
}

#[derive(KeyPart)]
enum Shape {
    Square(std::process::ExitCode),
}

fn main() {}
