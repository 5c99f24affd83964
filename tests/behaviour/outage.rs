//! A broken server changes no result and costs a bounded time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use memocached::{Cache, ErrorKind, memcached};

use crate::support::memcached::{Memcached, until};

#[memcached(key = "outage:double:<n>", ttl = 60, cache = cache, skip(cache, during), entry = double_entry)]
fn double(cache: &Cache, n: u64, during: impl FnOnce()) -> u64 {
    during();
    n * 2
}

#[memcached(key = "outage:async_double:<n>", ttl = 60, cache = cache, skip(cache, computed))]
async fn async_double(cache: &Cache, n: u64, computed: &Cell<u32>) -> u64 {
    computed.set(computed.get() + 1);
    n * 2
}

/// Generous to a busy machine; a call that waited for a server without a limit
/// would take much longer.
const BOUND: Duration = Duration::from_secs(5);

fn cache(server: &Memcached) -> Cache {
    Cache::builder().servers(server.address()).timeout(Duration::from_millis(200)).build().unwrap()
}

fn within_bound<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = call();
    assert!(start.elapsed() < BOUND, "{what} took {:?}", start.elapsed());
    result
}

#[test]
fn a_server_that_was_never_there_is_not_needed() {
    let mut server = Memcached::start();
    let cache = cache(&server);
    server.kill();
    within_bound("1000 calls", || {
        for n in 0..1_000 {
            assert_eq!(double(&cache, n, || {}), n * 2);
        }
    });
    let error = double_entry(&cache, 1).get().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CircuitOpen);
    assert!(error.to_string().contains(&server.address()), "{error}");
}

#[test]
fn a_server_killed_during_the_computation_is_not_needed() {
    let mut server = Memcached::start();
    let cache = cache(&server);
    let result = within_bound("the call", || double(&cache, 1, || server.kill()));
    assert_eq!(result, 2);
}

#[test]
fn a_server_killed_after_a_call_is_used_again_once_it_is_back() {
    let mut server = Memcached::start();
    let cache = cache(&server);
    assert_eq!(double(&cache, 1, || {}), 2);
    server.kill();
    for _ in 0..10 {
        assert_eq!(within_bound("a call", || double(&cache, 1, || {})), 2);
    }
    let server = Memcached::restart(server.port);
    until("the value to be stored again", || {
        assert_eq!(double(&cache, 1, || {}), 2);
        server.stored("outage:double:1")
    });
}

#[test]
fn a_restart_between_two_calls_is_not_noticed() {
    let mut server = Memcached::start();
    let cache = cache(&server);
    assert_eq!(double(&cache, 1, || {}), 2);
    server.kill();
    let server = Memcached::restart(server.port);
    assert_eq!(double(&cache, 1, || {}), 2);
    assert!(server.stored("outage:double:1").is_some(), "stored by the first call after the restart");
}

#[tokio::test]
async fn a_cancelled_call_leaves_no_reply_for_the_next() {
    let server = Memcached::start();
    let cache = Cache::builder().servers(server.address()).pool_size(1).timeout(BOUND).build().unwrap();
    let computed = Cell::new(0);
    assert_eq!(async_double(&cache, 1, &computed).await, 2);
    for n in 2..100 {
        // Polled once: the request is written, the reply is not yet read.
        let mut call = Box::pin(async_double(&cache, n, &computed));
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context).is_ready()));
        assert!(!polled.await);
        drop(call);
        // Another's reply would be no hit.
        assert_eq!((async_double(&cache, 1, &computed).await, computed.get()), (2, 1), "behind call {n}");
    }
}

#[test]
fn a_value_too_large_for_a_server_is_returned_and_not_stored() {
    #[memcached(key = "outage:large:<n>", ttl = 60, cache = cache, skip(cache))]
    fn large(cache: &Cache, n: usize) -> Vec<u8> {
        vec![7; n]
    }
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        for n in [1 << 21, 1 << 20, (1 << 20) - 700, 1 << 10] {
            assert_eq!(large(&cache, n), vec![7; n]);
            assert_eq!(large(&cache, n).len(), n);
        }
    }
    assert!(server.stored("outage:large:1024").is_some());
    assert_eq!(server.stored("outage:large:2097152"), None);
}

#[test]
fn many_threads_share_a_few_connections() {
    let server = Memcached::start();
    let cache =
        Cache::builder().servers(server.address()).pool_size(4).timeout(Duration::from_secs(5)).build().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..32 {
            let cache = &cache;
            scope.spawn(move || {
                for n in 0..100 {
                    assert_eq!(double(cache, thread * n, || {}), thread * n * 2);
                }
            });
        }
    });
    // The last one is this question's own.
    assert!(server.stat("total_connections") <= 4 + 3, "{}", server.stat("total_connections"));
}
