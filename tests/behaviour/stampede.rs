//! The program that shows what happens when a hot key expires.

use crate::support::folder::Folder;
use crate::support::memcached::Memcached;
use crate::support::process::{example, output};

/// The cells behind a way's name in the table.
fn row<'a>(printed: &'a str, way: &str) -> Vec<&'a str> {
    let line = printed.lines().find_map(|line| line.strip_prefix(way));
    line.unwrap_or_else(|| panic!("no {way:?} in {printed}")).split_whitespace().collect()
}

/// Each row has calls, computations, expiries, computations per expiry and
/// three latencies.
fn check(printed: &str) {
    let number = |way, cell: usize| row(printed, way)[cell].parse::<f64>().unwrap_or_else(|_| panic!("{printed}"));
    assert_eq!(number("no cache", 0), number("no cache", 1), "{printed}");
    for way in ["#[memcached]", "with grace"] {
        assert!(number(way, 2) >= 1.0, "{printed}");
        assert_eq!(number(way, 3), 1.0, "{printed}");
    }
    assert!(number("by hand", 3) > 1.0, "{printed}");
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
}

#[test]
fn a_stampede_is_one_computation_for_each_expiry() {
    let folder = Folder::new();
    let svg = folder.path("stampede.svg");
    let mut stampede = example("stampede");
    stampede.args(["--processes", "3", "--callers", "10", "--seconds", "2.2", "--svg"]).arg(&svg);
    let printed = output(&mut stampede);
    assert!(printed.contains("3 processes with 10 callers each"), "{printed}");
    check(&printed);
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("fill=\"#1d4ed8\"").count(), 4, "{svg}");
}

#[test]
fn without_memcached_a_stampede_is_shown_in_one_process() {
    let mut stampede = example("stampede");
    stampede.args(["--processes", "3", "--callers", "10", "--seconds", "2.2"]).env("PATH", "/nonexistent");
    let printed = output(&mut stampede);
    assert!(printed.starts_with("There is no memcached on the PATH"), "{printed}");
    assert!(printed.contains("1 process with 30 callers"), "{printed}");
    check(&printed);
}

#[test]
fn a_stampede_uses_the_servers_it_is_given() {
    let server = Memcached::start();
    let mut stampede = example("stampede");
    stampede.args(["--processes", "2", "--callers", "2", "--seconds", "0.2"]);
    let printed = output(stampede.env("MEMCACHED_SERVERS", server.address()));
    assert!(printed.contains(&server.address()), "{printed}");
    assert!(server.stat("cmd_set") >= 3, "by hand, by the attribute, with grace");
}
