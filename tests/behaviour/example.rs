//! The program of the README, run as a newcomer would, and the web service.

use super::dashboards::Service;
use crate::support::memcached::Memcached;
use crate::support::process::{example, output};
use crate::support::tools::{PYTHON_MODULES, Tool};
use crate::support::web::header;

const ANSWERS: &str =
    "Fibonacci 30 ==> 2178309\nFibonacci 30 ==> 2178309\nFibonacci 33 ==> 9227465\nFibonacci 33 ==> 9227465\n";

fn check(printed: &str, server: &str) {
    assert!(printed.starts_with(ANSWERS), "{printed}");
    let place = |text: &str| printed.find(text).unwrap_or_else(|| panic!("no {text:?} in {printed}"));
    let order = [
        "MemcacheRustUsage",
        "CalculateFibonacci-30",
        "Round-1",
        "nth_fibonacci",
        "Cache miss",
        "compute",
        "Round-2",
        "Cache hit",
        "CalculateFibonacci-33",
    ];
    assert!(order.windows(2).all(|pair| place(pair[0]) < place(pair[1])), "{printed}");
    assert_eq!((printed.matches("Cache miss").count(), printed.matches("Cache hit").count()), (2, 2));
    for verb in ["get", "set", "delete"] {
        assert!(printed.contains(&format!("{verb} {server}")), "{printed}");
    }
    let rows = printed.lines().filter(|line| line.starts_with("nth_fibonacci"));
    let cells: Vec<Vec<_>> = rows.map(|row| row.split_whitespace().take(3).collect()).collect();
    assert_eq!(cells, [&["nth_fibonacci", "4", "50.0%"][..], &["nth_fibonacci", "2"]], "{printed}");
    assert!(printed.lines().all(|line| line.chars().count() <= 80), "{printed}");
    assert!(!printed.contains('\x1b'), "colours are for terminals");
}

#[test]
fn without_servers_it_uses_the_embedded_store() {
    check(&output(&mut example("fibonacci")), "embedded");
}

#[test]
fn with_a_server_two_runs_behave_the_same() {
    let server = Memcached::start();
    for run in 1..=2 {
        let printed = output(example("fibonacci").env("MEMCACHED_SERVERS", server.address()));
        check(&printed, &server.address());
        assert_eq!(printed.matches(&format!("set {}", server.address())).count(), 2, "fib:30 and fib:33");
        // A busy machine takes so long that leases are renewed, which are sets too.
        assert!(server.stat("cmd_set") >= run * 2, "both arrived");
        assert_eq!(server.items(), 0, "and were deleted");
    }
}

#[test]
fn the_web_service_tells_in_a_header_what_the_cache_did() {
    let servers = [Memcached::start()];
    let service = Service::on(&servers);
    let told = |path: &str| header(service.port, path, "x-cache").unwrap();
    let told = ["/product/7", "/product/7", "/search/7", "/product/1000", "/product/1000", "/metrics"].map(told);
    let told = told.each_ref().map(Option::as_deref);
    let [miss, hit] = [Some("miss; absent"), Some("hit")];
    assert_eq!(told, [miss, hit, miss, miss, hit, None]);
}

#[test]
fn the_attribute_and_its_steps_by_hand_share_their_entries() {
    let server = Memcached::start();
    let printed = output(example("by_hand").env("MEMCACHED_SERVERS", server.address()));
    let lines: Vec<&str> = printed.lines().collect();
    let expected = [
        "with the attribute: 20 ==> 6765 (miss; absent)",
        "by hand:            20 ==> 6765",
        "by hand:            25 ==> 75025",
        "with the attribute: 25 ==> 75025 (hit)",
    ];
    assert_eq!(lines, expected);
    assert_eq!(server.items(), 0, "it has cleaned up");
}

#[test]
fn values_are_shared_with_python() {
    if !Tool::Pymemcache.is_here() {
        return;
    }
    let printed = output(example("shared_with_python").env("PYTHONPATH", PYTHON_MODULES));
    for line in [
        "Rust    miss; absent: User { id: 7, name: \"user 7\", languages: [\"Rust\"] }",
        "Python  reads user:r%26d:7: {'id': 7, 'name': 'user 7', 'languages': ['Rust']}",
        "Rust    hit: User { id: 8, name: \"Guido\", languages: [\"Python\", \"C\"] }",
        "Rust    counts Some(42) visits",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "no {line} in {printed}");
    }
}
