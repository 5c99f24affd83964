//! The environment decides, and says so when it cannot.

use memocached::memcached;

use crate::support::memcached::Memcached;
use crate::support::process::{again, role};

#[memcached(key = "configuration:<n>", ttl = 60)]
fn half(n: u64) -> u64 {
    n / 2
}

/// Calls the function in a process with this environment; returns what it
/// said on standard error.
fn in_environment(test: &str, variables: &[(&str, &str)]) -> String {
    let test = format!("behaviour::configuration::{test}");
    let output = again(&test, "child").envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn call_if_child() -> bool {
    let child = role().is_some();
    if child {
        assert_eq!((half(10), half(10)), (5, 5));
    }
    child
}

#[test]
fn an_unusable_variable_is_named_and_functions_compute() {
    if call_if_child() {
        return;
    }
    let test = "an_unusable_variable_is_named_and_functions_compute";
    let said = in_environment(test, &[("MEMCACHED_TTL", "soon")]);
    assert!(said.contains(r#"nothing is cached: MEMCACHED_TTL="soon" cannot be used; accepted: "#), "{said}");
    assert_eq!(said.matches("MEMCACHED_TTL").count(), 1, "said once: {said}");
}

#[test]
fn a_cache_switched_off_opens_no_connection() {
    if call_if_child() {
        return;
    }
    let server = Memcached::start();
    let test = "a_cache_switched_off_opens_no_connection";
    let before = server.stat("total_connections");
    let address = server.address();
    for value in ["false", "-half", "-other,-half"] {
        in_environment(test, &[("MEMCACHED_SERVERS", &address), ("MEMCACHED_ENABLED", value)]);
    }
    // One for each of the two questions.
    assert_eq!(server.stat("total_connections"), before + 1);
    in_environment(test, &[("MEMCACHED_SERVERS", &address), ("MEMCACHED_ENABLED", "-other")]);
    assert!(server.stored("configuration:10").is_some());
}
