//! Calls that wait for another process: what they leave behind, and what they make of a
//! server that does not answer them.

use std::future::{pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use memocached::{group, memcached};

use crate::cache::Cache;
use crate::client::Client;
use crate::memcached::{Memcached, until};
use crate::proxy::{Fault, Form, Pace, Proxy, Then};

const MS: Duration = Duration::from_millis(1);

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

group! {
    fn team(id: u32) = "waiting:team:<id>";
}

#[memcached(key = "waiting:<n>", ttl = 60, cache = cache, skip(cache))]
async fn single(cache: &Cache, n: u32) -> u32 {
    tokio::task::yield_now().await;
    n
}

#[memcached(key = "waiting:<n>", ttl = 60, group = team(1), cache = cache, skip(cache))]
async fn grouped(cache: &Cache, n: u32) -> u32 {
    tokio::task::yield_now().await;
    n
}

#[memcached(key = "waiting:<n>", each(n in numbers), ttl = 60, cache = cache, skip(cache))]
async fn batch(cache: &Cache, numbers: &[u32]) -> Vec<u32> {
    tokio::task::yield_now().await;
    numbers.to_vec()
}

/// Lets it be known how long computing takes.
async fn measured(cache: &Cache) {
    for row in 0..3 {
        call(cache, row, row).await;
    }
}

/// A call of each kind.
async fn call(cache: &Cache, row: u32, n: u32) {
    match row {
        0 => assert_eq!(single(cache, n).await, n),
        1 => assert_eq!(grouped(cache, n).await, n),
        _ => assert_eq!(batch(cache, &[n, n + 500]).await, [n, n + 500]),
    }
}

/// Polls a call so many times at most, and drops it. Returns whether it was ready.
async fn polled<T>(polls: u32, call: impl Future<Output = T>) -> bool {
    let (mut call, mut left) = (pin!(call), polls);
    poll_fn(|context| {
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Has a process win the lease on this key that dies at once. Returns its number.
fn orphaned(server: &Memcached, key: &str) -> String {
    let won = server.command(&format!("mg {key} N30 c"));
    assert!(won.ends_with(" W"), "{won}");
    server.command(&format!("mg {key} c"))
}

/// Waits until the key has no lease but the orphan. One that is left ends by itself after
/// four seconds.
fn assert_free(server: &Memcached, key: &str, orphan: &str) {
    let dropped = Instant::now();
    while server.stored(key).is_some_and(|value| value.is_empty()) && server.command(&format!("mg {key} c")) != orphan {
        assert!(dropped.elapsed() < Duration::from_secs(2), "a lease is left on {key}");
        std::thread::sleep(MS);
    }
}

#[test]
fn a_lease_that_is_taken_over_after_the_call_was_dropped_is_given_back() {
    let (server, runtime) = (Memcached::start(), runtime());
    for row in 0..3 {
        let proxy = Proxy::before(server.port);
        let cache = Cache::builder().servers(proxy.address()).timeout(2_000 * MS).build().expect("a valid server");
        runtime.block_on(measured(&cache));
        let n = 100 * (row + 1);
        let key = format!("waiting:{n}");
        let orphan = orphaned(&server, &key);
        let take_over = format!("ms {key} ");
        let held = proxy.hold(move |line| line.starts_with(&take_over));
        let dropped = runtime.spawn(async move { call(&cache, row, n).await });
        held.caught();
        dropped.abort();
        assert!(runtime.block_on(dropped).expect_err("it waits for the server").is_cancelled());
        held.release();
        until("the lease to be taken over", || (server.command(&format!("mg {key} c")) != orphan).then_some(()));
        assert_free(&server, &key, &orphan);
    }
}

#[test]
fn a_call_that_is_dropped_at_any_poll_leaves_no_lease() {
    let (server, runtime) = (Memcached::start(), runtime());
    let cache = server.cache();
    runtime.block_on(measured(&cache));
    for row in 0..3 {
        for polls in 1.. {
            let n = 1_000 * (row + 1) + polls;
            let key = format!("waiting:{n}");
            let orphan = orphaned(&server, &key);
            let is_over = runtime.block_on(polled(polls, call(&cache, row, n)));
            assert_free(&server, &key, &orphan);
            if is_over {
                assert!(polls > 3, "{polls} polls");
                break;
            }
        }
    }
}

#[test]
fn a_call_that_is_dropped_after_it_has_taken_a_lease_over_costs_others_nothing() {
    static BEGUN: AtomicU32 = AtomicU32::new(0);

    #[memcached(key = "paid:<n>", ttl = 60, cache = cache, skip(cache, ends))]
    async fn paid(cache: &Cache, n: u32, ends: bool) -> u32 {
        BEGUN.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(100 * MS).await;
        if ends { n } else { pending().await }
    }

    let (server, runtime) = (Memcached::start(), runtime());
    let cache = server.cache();
    runtime.block_on(paid(&cache, 0, true));
    for n in 1..=11 {
        orphaned(&server, &format!("paid:{n}"));
    }
    let calls: Vec<_> = (1..=10)
        .map(|n| {
            let cache = cache.clone();
            runtime.spawn(async move { paid(&cache, n, false).await })
        })
        .collect();
    until("ten bodies to run", || (BEGUN.load(Ordering::Relaxed) == 11).then_some(()));
    for call in calls {
        call.abort();
        assert!(runtime.block_on(call).expect_err("it never ends").is_cancelled());
    }
    // Without a token it would wait for as long as sixteen times the patience.
    let begun = Instant::now();
    assert_eq!(runtime.block_on(paid(&cache, 11, true)), 11);
    assert!(begun.elapsed() < 2_000 * MS, "{:?}", begun.elapsed());
}

#[test]
fn polls_without_an_answer_say_nothing_about_a_server() {
    #[memcached(key = "poll:<n>", cache = cache, skip(cache))]
    fn blocking(cache: &Cache, n: u32) -> u32 {
        n
    }

    #[memcached(key = "poll:<n>", cache = cache, skip(cache))]
    async fn yielding(cache: &Cache, n: u32) -> u32 {
        n
    }

    let (server, runtime) = (Memcached::start(), runtime());
    for n in [1, 2] {
        let proxy = Proxy::before(server.port);
        let cache = Cache::builder().servers(proxy.address()).timeout(100 * MS).build().expect("a valid server");
        let ask = |n| if n % 2 == 0 { runtime.block_on(yielding(&cache, n)) } else { blocking(&cache, n) };
        orphaned(&server, &format!("poll:{n}"));
        let late = Fault { form: Form::Whole, pace: Pace::Late(10_000 * MS), then: Then::GoOn };
        // What tells the server's life and who computes is in time, and so is a first poll.
        proxy.inflict(late, 3);
        let begun = Instant::now();
        assert_eq!(ask(n), n);
        assert!(begun.elapsed() >= 300 * MS, "it has asked three times: {:?}", begun.elapsed());
        let nodes = Client::of(&cache).nodes();
        assert!(nodes.iter().all(|node| node.is_up), "{nodes:?}");
    }
}

/// A body with the only place waits for none whose body waits for that place.
#[test]
fn what_a_body_asks_for_is_not_waited_for_behind_that_body() {
    #[memcached(key = "placed:<n>", at_most = 1, cache = cache, skip(cache, body))]
    fn placed(cache: &Cache, n: u32, body: &dyn Fn() -> u32) -> u32 {
        body()
    }
    #[memcached(key = "placed:<n>", each(n in numbers), at_most = 1, cache = cache, skip(cache, body))]
    fn all_placed(cache: &Cache, numbers: &[u32], body: &dyn Fn() -> u32) -> Vec<u32> {
        numbers.iter().map(|_| body()).collect()
    }
    let inner: [fn(&Cache) -> u32; 2] = [|cache| placed(cache, 1, &|| 1), |cache| all_placed(cache, &[1], &|| 1)[0]];
    type Outer = fn(&Cache, &dyn Fn() -> u32) -> u32;
    let outer: [Outer; 2] = [|cache, body| placed(cache, 0, body), |cache, body| all_placed(cache, &[0], body)[0]];
    // Of one function the queue is the same.
    for (outer, inner) in std::iter::zip(outer, inner) {
        let cache = Cache::embedded();
        let began = Instant::now();
        std::thread::scope(|scope| {
            let cache = &cache;
            let found = outer(cache, &|| {
                scope.spawn(move || assert_eq!(inner(cache), 1));
                until("a caller that leads, and waits for the place", || (cache.flights().len() == 2).then_some(()));
                inner(cache)
            });
            assert_eq!(found, 1);
        });
        // It is not known how long computing takes.
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    }
}

/// Looking a value up and giving its lease back have one time limit.
#[test]
fn a_call_without_a_value_waits_for_a_slow_server_once() {
    #[memcached(key = "waiting:none:<n>", ttl = 60, cache = cache, skip(cache))]
    fn none(cache: &Cache, n: u32) -> Option<u32> {
        None
    }
    let server = Memcached::start();
    let proxy = Proxy::before(server.port);
    let cache = Cache::builder().servers(proxy.address()).timeout(1_000 * MS).build().expect("a server");
    assert_eq!(none(&cache, 0), None);
    proxy.inflict(Fault { form: Form::Whole, pace: Pace::Late(800 * MS), then: Then::GoOn }, 0);
    let began = Instant::now();
    assert_eq!(none(&cache, 1), None);
    assert!(began.elapsed() < 1_400 * MS, "{:?}", began.elapsed());
}
