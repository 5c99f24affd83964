use memocached::KeyPart;

#[derive(KeyPart)]
struct Point {
    #[key(display)]
    code: Option<std::process::ExitCode>,
    #[key(bits)]
    number: u8,
}

fn main() {}
