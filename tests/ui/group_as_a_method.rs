use memocached::group;

group! {
    fn team(&self, region: &str) = "team:<self.id>,<region>";
}

fn main() {
    let _ = team("eu");
}
