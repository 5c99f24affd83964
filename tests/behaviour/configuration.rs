//! The environment decides, and says so when it cannot.

use std::sync::atomic::{AtomicU32, Ordering};

use memocached::{Mode, memcached, with_mode};

use crate::support::asking::wait_for;
use crate::support::memcached::Memcached;
use crate::support::process::{again, output, role};

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

#[test]
fn a_variable_that_does_nothing_is_reported_once() {
    if call_if_child() {
        // Clients read the environment too.
        let _ = (memocached::Client::from_env().unwrap(), memocached::Cache::from_env().unwrap());
        return;
    }
    let test = "a_variable_that_does_nothing_is_reported_once";
    let said = in_environment(test, &[("MEMCACHED_SERVER", "s3cret"), ("MEMCACHED_PORT", "tcp://10.0.0.1:11211")]);
    let told = "memocached: the variable MEMCACHED_SERVER has no effect; did you mean MEMCACHED_SERVERS?";
    assert_eq!(said.matches(told).count(), 1, "{said}");
    assert!(!said.contains("MEMCACHED_PORT") && !said.contains("s3cret"), "{said}");
}

static COMPUTED: AtomicU32 = AtomicU32::new(0);

fn computing() {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
}

/// Functions of every shape, on the cache of the process.
mod shapes {
    use memocached::{Error, KeyPart, memcached};

    use super::computing;

    #[derive(KeyPart)]
    pub(super) struct Shop {
        pub(super) name: String,
    }

    impl Shop {
        #[memcached(key = "shapes:<self.name>:<item>", ttl = "5m", entry = price_of)]
        pub(super) fn price(&self, item: u32) -> u64 {
            computing();
            u64::from(item) * self.name.len() as u64
        }

        #[memcached(codec = json)]
        pub(super) async fn stock(&self, item: u32) -> Option<String> {
            computing();
            tokio::task::yield_now().await;
            (item > 0).then(|| format!("{} of {item}", self.name))
        }
    }

    #[memcached]
    pub(super) fn generic<T: KeyPart + ToString, const N: usize>(value: T) -> [String; N]
    where
        [String; N]: serde::Serialize + serde::de::DeserializeOwned,
    {
        computing();
        std::array::from_fn(|_| value.to_string())
    }

    #[memcached(key = "shapes:fallible:<n>", on_error = propagate)]
    pub(super) fn fallible(n: i32) -> Result<i32, Error> {
        computing();
        Ok(n - 1)
    }

    #[memcached(key = "shapes:failing:<n>")]
    pub(super) fn failing(n: i32) -> Result<i32, String> {
        computing();
        Err(format!("{n} is wrong"))
    }

    #[memcached(key = "shapes:text:<n>", codec = text, store_if = |n| *n > 0, when = n > 1)]
    pub(super) async fn text(n: i64) -> i64 {
        computing();
        n * n
    }

    #[memcached(key = "shapes:fib:<n>")]
    pub(super) fn fib(n: u64) -> u64 {
        computing();
        if n < 2 { 1 } else { fib(n - 1) + fib(n - 2) }
    }
}

/// Calls all of them, twice.
fn call_shapes() {
    let shop = shapes::Shop { name: "corner".into() };
    for _ in 0..2 {
        assert_eq!(shop.price(3), 18);
        assert_eq!(with_mode(Mode::Refresh, || shop.price(4)), 24);
        assert_eq!(shapes::generic::<_, 2>(7), ["7", "7"]);
        assert_eq!(shapes::fallible(7).unwrap(), 6);
        assert_eq!(shapes::failing(7).unwrap_err(), "7 is wrong");
        assert_eq!(shapes::fib(10), 89);
        wait_for(async {
            assert_eq!(shop.stock(3).await.as_deref(), Some("corner of 3"));
            assert_eq!(shop.stock(0).await, None);
            assert_eq!((shapes::text(5).await, shapes::text(0).await), (25, 0));
        });
    }
}

#[test]
fn functions_that_are_switched_off_return_the_same_and_compute_each_time() {
    if role().is_some() {
        call_shapes();
        println!("computed {}", COMPUTED.load(Ordering::Relaxed));
        return;
    }
    let server = Memcached::start();
    let before = server.stat("total_connections");
    let address = server.address();
    let computed = |enabled: &str| {
        let test = "behaviour::configuration::functions_that_are_switched_off_return_the_same_and_compute_each_time";
        let variables = [("MEMCACHED_SERVERS", address.as_str()), ("MEMCACHED_ENABLED", enabled)];
        let said = output(again(test, "child").envs(variables).env("MEMCACHED_TIMEOUT", "20s"));
        let number = said.split("computed ").nth(1).and_then(|rest| rest.split_whitespace().next());
        number.expect("it says so").parse::<u32>().unwrap()
    };
    // Recursion computes 177 times for `fib(10)`.
    assert_eq!(computed("false"), 2 * (9 + 177));
    // The question's own.
    assert_eq!(server.stat("total_connections"), before + 1);
    assert!(computed("true") < 2 * 9 + 11, "otherwise they are cached");
}
