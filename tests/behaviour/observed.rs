//! A program sees what the cache did for the calls that it observes, and nothing
//! of other calls.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use memocached::{
    Cache, CallOutcome, Failover, MissReason, Mode, Observed, ObservedCall, invalidates, memcached, observed,
    observed_async, with_mode,
};
use tokio::runtime::{Builder, Runtime};

use crate::support::memcached::{Memcached, until};

const MS: Duration = Duration::from_millis(1);

/// The outcomes of the outermost calls, in words.
fn outcomes(seen: &Observed) -> Vec<String> {
    seen.calls.iter().map(|call| call.outcome.to_string()).collect()
}

/// The only call that `work` makes.
fn only<R>(work: impl FnOnce() -> R) -> ObservedCall {
    let (_, mut seen) = observed(work);
    assert_eq!(seen.calls.len(), 1, "{seen:#?}");
    seen.calls.remove(0)
}

fn outcome<R>(work: impl FnOnce() -> R) -> String {
    only(work).outcome.to_string()
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[memcached(key = "observed:plain:<n>", ttl = 600, name = "plain", entry = plain_entry, cache = cache, skip(cache))]
fn plain(cache: &Cache, n: u64) -> u64 {
    std::thread::sleep(2 * MS);
    n
}

#[memcached(key = "observed:near:<n>", ttl = 600, near = 60, cache = cache, skip(cache))]
fn near(cache: &Cache, n: u64) -> Option<u64> {
    Some(n)
}

#[memcached(key = "observed:graced:<n>", ttl = 600, grace = 60, entry = graced_entry, cache = cache, skip(cache, body))]
fn graced(cache: &Cache, n: u64, body: impl FnOnce() -> Result<u64, String>) -> Result<u64, String> {
    body().map(|value| value + n)
}

#[memcached(key = "observed:when:<n>", when = n > 1, cache = cache, skip(cache))]
fn when(cache: &Cache, n: u64) -> u64 {
    n
}

#[test]
fn a_hit_tells_its_keys_its_node_its_cost_and_the_time_that_is_left() {
    let server = Memcached::start();
    let namespaced = || Cache::builder().servers(server.address()).namespace("shop").build().unwrap();
    let cache = namespaced();
    let miss = only(|| plain(&cache, 7));
    assert_eq!(miss.outcome, CallOutcome::Miss(MissReason::Absent));
    let stored = miss.ttl_left.unwrap();
    assert!((540..=600).contains(&stored.as_secs()), "as it was stored: {stored:?}");
    let hit = only(|| plain(&namespaced(), 7));
    assert_eq!(hit.outcome, CallOutcome::Hit);
    let left = hit.ttl_left.unwrap();
    assert!(left <= stored + Duration::from_secs(1) && left.as_secs() > 500, "{left:?} of {stored:?}");
    assert_eq!(hit.cost, miss.cost);
    assert!(hit.cost.unwrap() >= 2 * MS);
    for call in [miss, hit] {
        assert_eq!((call.name, call.template), ("plain", "observed:plain:<n>"));
        assert_eq!(call.key.as_deref(), Some("observed:plain:7"));
        assert_eq!(call.stored_key.as_deref(), Some("shop:observed:plain:7"));
        assert_eq!(call.node, Some(server.address()));
    }
}

#[test]
fn of_two_servers_the_one_that_was_asked_is_named() {
    let servers = [Memcached::start(), Memcached::start()];
    let list = servers.each_ref().map(Memcached::address);
    let cache = Cache::builder().servers(list.join(",")).build().unwrap();
    let mut named = HashMap::<_, u32>::new();
    for n in 0..40 {
        for call in [only(|| plain(&cache, n)), only(|| plain(&cache, n))] {
            let place = list.iter().position(|address| Some(address) == call.node.as_ref()).unwrap();
            assert!(servers[place].stored(&call.stored_key.unwrap()).is_some());
            *named.entry(place).or_default() += 1;
        }
    }
    assert_eq!(named.len(), 2, "both have keys: {named:?}");
    assert_eq!(only(|| plain(&Cache::embedded(), 1)).node.as_deref(), Some("embedded"));
}

#[test]
fn with_failover_the_server_that_was_asked_in_place_of_another_is_named() {
    let mut servers = [Memcached::start(), Memcached::start()];
    let list = servers.each_ref().map(Memcached::address);
    let cache = Cache::builder().servers(list.join(",")).failover(Failover::Next).build().unwrap();
    let theirs = (0..).find(|n| only(|| plain(&cache, *n)).node.as_ref() == Some(&list[0])).unwrap();
    servers[0].kill();
    let call = only(|| plain(&cache, theirs));
    assert_eq!((call.outcome.to_string().as_str(), call.node.as_ref()), ("miss; unavailable", Some(&list[0])));
    let call = only(|| plain(&cache, theirs));
    assert_eq!((call.outcome.to_string().as_str(), call.node.as_ref()), ("miss; absent", Some(&list[1])));
}

#[test]
fn a_near_hit_asks_no_node() {
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        assert_eq!(outcome(|| near(&cache, 1)), "miss; absent");
        let call = only(|| near(&cache, 1));
        assert_eq!(call.outcome, CallOutcome::NearHit);
        assert_eq!((call.key.as_deref(), call.node), (Some("observed:near:1"), None));
        assert_eq!((call.stored_key.as_deref(), call.ttl_left), (Some("observed:near:1"), None));
        assert!(call.cost.is_some());
        assert_eq!(call.outcome.to_string(), "near");
    }
}

#[test]
fn a_value_past_its_ttl_is_stale_for_all_but_who_computes_it() {
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        assert_eq!(outcome(|| graced(&cache, 1, || Ok(1))), "miss; absent");
        assert!(graced_entry(&cache, 1).invalidate().unwrap());
        let call = only(|| {
            graced(&cache, 1, || {
                let stale = only(|| graced(&cache, 1, || Ok(9)));
                assert_eq!((stale.outcome, stale.ttl_left), (CallOutcome::Stale, None));
                Ok(2)
            })
        });
        assert_eq!(call.outcome.to_string(), "miss; expired");
        assert_eq!(call.calls.len(), 1, "the outer observation has it below the call whose body it was in");
        assert!(graced_entry(&cache, 1).invalidate().unwrap());
        let call = only(|| assert_eq!(graced(&cache, 1, || Err("down".into())), Ok(3)));
        assert_eq!(call.outcome.to_string(), "stale", "since computing failed");
    }
}

mod versions {
    use super::*;

    #[memcached(key = "observed:version", ttl = 60, version = 1, cache = cache, skip(cache))]
    pub(super) fn first(cache: &Cache) -> u64 {
        1
    }

    #[memcached(key = "observed:version", ttl = 60, version = 2, cache = cache, skip(cache))]
    pub(super) fn second(cache: &Cache) -> String {
        "two".into()
    }
}

#[invalidates(plain_entry(cache, n))]
fn change(cache: &Cache, n: u64, meanwhile: impl FnOnce() -> String) -> String {
    meanwhile()
}

#[test]
fn each_miss_has_its_reason() {
    let mut server = Memcached::start();
    let cache = server.cache();
    assert_eq!(outcome(|| plain(&cache, 1)), "miss; absent");
    assert_eq!(outcome(|| with_mode(Mode::Refresh, || plain(&cache, 1))), "miss; refresh");
    assert_eq!(server.command("md observed:plain:1 I"), "HD", "it becomes stale");
    assert_eq!(outcome(|| plain(&cache, 1)), "miss; expired");
    let mut damaged = server.stored("observed:plain:1").unwrap();
    damaged[40] ^= 1;
    server.store("observed:plain:1", 0, &damaged);
    assert_eq!(outcome(|| plain(&cache, 1)), "miss; decode_error");
    assert_eq!(change(&cache, 1, || outcome(|| plain(&cache, 1))), "miss; changing");

    assert_eq!(outcome(|| versions::first(&cache)), "miss; absent");
    let other = only(|| versions::second(&cache));
    assert_eq!(other.outcome, CallOutcome::Miss(MissReason::Schema));
    assert_eq!(other.key.as_deref(), Some("observed:version"));
    let sibling = other.stored_key.unwrap();
    assert!(sibling != "observed:version" && server.stored(&sibling).is_some(), "it is stored elsewhere: {sibling}");
    let hit = only(|| versions::second(&cache));
    assert_eq!((hit.outcome, hit.stored_key), (CallOutcome::Hit, Some(sibling)));

    let address = server.address();
    server.kill();
    let call = only(|| plain(&cache, 1));
    assert_eq!((call.outcome, call.node), (CallOutcome::Miss(MissReason::Unavailable), Some(address)));
    let call = only(|| plain(&cache, 1));
    assert_eq!((call.outcome.to_string().as_str(), call.node), ("miss; unavailable", None), "it is left alone");
    assert!(call.cost.is_some() && call.ttl_left.is_none());
}

#[memcached(key = "observed:propagating", on_error = propagate, cache = cache, skip(cache))]
fn propagating(cache: &Cache) -> Result<u8, memocached::Error> {
    Ok(1)
}

#[test]
fn a_call_that_returns_the_caches_error_has_computed_nothing() {
    let mut server = Memcached::start();
    let cache = server.cache();
    server.kill();
    let call = only(|| assert!(propagating(&cache).is_err()));
    assert_eq!((call.outcome, call.cost), (CallOutcome::Miss(MissReason::Unavailable), None));
}

#[test]
fn a_bypassed_call_has_no_key() {
    let cache = Cache::embedded();
    for call in [only(|| when(&cache, 1)), only(|| with_mode(Mode::Bypass, || when(&cache, 2)))] {
        assert_eq!((call.outcome, call.outcome.to_string().as_str()), (CallOutcome::Bypass, "bypass"));
        assert_eq!((call.key, call.stored_key, call.node, call.ttl_left), (None, None, None, None));
        assert!(call.cost.is_some() && call.template == "observed:when:<n>");
    }
    assert_eq!(outcome(|| when(&cache, 2)), "miss; absent");
    assert_eq!(outcome(|| with_mode(Mode::ReadOnly, || when(&cache, 2))), "hit");
}

#[memcached(key = "observed:slow:<n>", cache = cache, skip(cache, body))]
fn slow(cache: &Cache, n: u64, body: impl FnOnce() -> u64) -> u64 {
    body() + n
}

/// What two callers of the same value see, of whom the second finds the first
/// computing. On a busy machine it may compute beside the first, so they try again.
fn leader_and_waiter(server: &Memcached) -> [ObservedCall; 2] {
    let cache = server.cache();
    let attempt = |n| {
        let (began, before) = (AtomicBool::new(false), server.stat("cmd_get"));
        let body = || {
            began.store(true, Ordering::Release);
            until("the other to ask", || (server.stat("cmd_get") >= before + 2).then_some(()));
            7
        };
        let calls = std::thread::scope(|scope| {
            let leader = scope.spawn(|| only(|| slow(&cache, n, body)));
            until("a computation", || began.load(Ordering::Acquire).then_some(()));
            let waiter = only(|| assert_eq!(slow(&cache, n, || 7), n + 7));
            [leader.join().unwrap(), waiter]
        });
        (calls[1].outcome == CallOutcome::Coalesced).then_some(calls)
    };
    (0..20).find_map(attempt).expect("a caller that waited")
}

#[test]
fn a_call_that_waits_for_another_thread_is_coalesced() {
    let server = Memcached::start();
    let [leader, waiter] = leader_and_waiter(&server);
    assert_eq!((leader.outcome, leader.cost.is_some()), (CallOutcome::Miss(MissReason::Absent), true));
    assert_eq!((waiter.outcome.to_string().as_str(), waiter.node), ("coalesced", Some(server.address())));
    assert_eq!(waiter.cost, leader.cost);
}

#[memcached(key = "observed:task:<n>", ttl = 600, name = "task", cache = cache, skip(cache))]
async fn task(cache: &Cache, n: u64) -> u64 {
    tokio::time::sleep(MS).await;
    n
}

#[test]
fn tasks_see_their_own_calls_on_whichever_thread_they_are_polled() {
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        runtime().block_on(async {
            let observing = (0..40).map(|n| {
                let cache = cache.clone();
                tokio::spawn(observed_async(async move {
                    let before = task(&cache, n).await;
                    tokio::task::yield_now().await;
                    before + task(&cache, n).await
                }))
            });
            for (n, observing) in observing.collect::<Vec<_>>().into_iter().enumerate() {
                let (value, seen) = observing.await.unwrap();
                assert_eq!(value, 2 * n as u64);
                assert_eq!(outcomes(&seen), ["miss; absent", "hit"]);
                let key = format!("observed:task:{n}");
                assert!(seen.calls.iter().all(|call| call.key.as_ref() == Some(&key)), "{seen:#?}");
                assert_eq!(seen.call().unwrap().outcome, CallOutcome::Hit, "the last");
            }
        });
    }
}

#[tokio::test]
async fn futures_of_one_task_that_wait_for_each_other_are_coalesced() {
    let cache = Cache::embedded();
    let mut seen = Vec::new();
    // On a busy machine the second may compute beside the first.
    for n in 0..20 {
        let calls = async { tokio::join!(task(&cache, n), task(&cache, n), task(&cache, n + 100)) };
        seen.push(outcomes(&observed_async(calls).await.1));
    }
    assert!(seen.contains(&["miss; absent", "coalesced", "miss; absent"].map(str::to_owned).to_vec()), "{seen:?}");
}

#[test]
fn a_spawned_task_is_not_observed_but_may_observe_itself() {
    let cache = Cache::embedded();
    runtime().block_on(async {
        let ((_, inner), seen) = observed_async(async {
            let (spawned, observing) = (cache.clone(), cache.clone());
            tokio::spawn(async move { task(&spawned, 1).await }).await.unwrap();
            tokio::spawn(observed_async(async move { task(&observing, 1).await })).await.unwrap()
        })
        .await;
        assert_eq!((outcomes(&inner), outcomes(&seen)), (vec!["hit".to_owned()], vec![]));
    });
    let ((), seen) = observed(|| std::thread::scope(|scope| drop(scope.spawn(|| plain(&cache, 1)))));
    assert_eq!(seen.calls, []);
}

#[tokio::test]
async fn futures_that_are_not_observed_are_not_seen_on_the_same_thread() {
    let cache = Cache::embedded();
    let observing = observed_async(async {
        task(&cache, 1).await;
        task(&cache, 2).await;
    });
    let ((_, seen), _, other) = tokio::join!(observing, task(&cache, 3), observed_async(task(&cache, 4)));
    let keys = |seen: &Observed| seen.calls.iter().filter_map(|call| call.key.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&seen), ["observed:task:1", "observed:task:2"]);
    assert_eq!(keys(&other.1), ["observed:task:4"]);
}

#[memcached(key = "observed:outer:<n>", ttl = 600, name = "outer", cache = cache, skip(cache))]
fn outer(cache: &Cache, n: u64) -> u64 {
    if n > 0 { outer(cache, n - 1) + plain(cache, n) } else { plain(cache, n) }
}

#[memcached(key = "observed:async_outer:<n>", ttl = 600, name = "async_outer", cache = cache, skip(cache))]
async fn async_outer(cache: &Cache, n: u64) -> u64 {
    let inner = if n > 0 { Box::pin(async_outer(cache, n - 1)).await } else { plain(cache, 100) };
    let (first, second) = tokio::join!(task(cache, n), task(cache, n + 1));
    inner + first + second
}

/// The tree of calls, by name, key and outcome.
fn tree(calls: &[ObservedCall]) -> String {
    let of = |call: &ObservedCall| {
        let number = call.key.as_ref().and_then(|key| key.rsplit(':').next()).unwrap_or_default();
        format!("{}{number} {} [{}]", call.name, call.outcome, tree(&call.calls))
    };
    calls.iter().map(of).collect::<Vec<_>>().join(", ")
}

#[test]
fn calls_in_a_body_are_below_its_call() {
    let cache = Cache::embedded();
    let (_, seen) = observed(|| outer(&cache, 1) + plain(&cache, 0));
    let inner = "outer0 miss; absent [plain0 miss; absent []]";
    let expected = format!("outer1 miss; absent [{inner}, plain1 miss; absent []], plain0 hit []");
    assert_eq!(tree(&seen.calls), expected);
    let names: Vec<&str> = seen.every().map(|call| call.name).collect();
    assert_eq!(names, ["outer", "outer", "plain", "plain", "plain"]);
    let (_, seen) = observed(|| outer(&cache, 1));
    assert_eq!(tree(&seen.calls), "outer1 hit []");
}

#[test]
fn calls_in_an_async_body_are_below_its_call() {
    let cache = Cache::embedded();
    let (_, seen) = runtime().block_on(observed_async(async {
        tokio::join!(async_outer(&cache, 1), task(&cache, 50));
    }));
    let inner = "async_outer0 miss; absent [plain100 miss; absent [], task0 miss; absent [], task1 miss; absent []]";
    let own = "task1 hit [], task2 miss; absent []";
    let expected = format!("async_outer1 miss; absent [{inner}, {own}], task50 miss; absent []");
    assert_eq!(tree(&seen.calls), expected);
}

#[memcached(key = "observed:batch:<n>", each(n in all), ttl = 600, near = 60, grace = 60, name = "batch", entry = batch_entry, cache = cache, skip(cache))]
fn batch(cache: &Cache, all: &[u64]) -> HashMap<u64, u64> {
    all.iter().filter(|n| **n != 13).map(|n| (*n, plain(cache, *n))).collect()
}

#[memcached(key = "observed:async_batch:<n>", each(n in all), ttl = 600, name = "batch", cache = cache, skip(cache))]
async fn async_batch(cache: &Cache, all: &[u64]) -> Vec<u64> {
    let mut values = Vec::new();
    for n in all {
        values.push(task(cache, *n).await);
    }
    values
}

#[test]
fn a_batch_is_one_call_that_counts_its_elements() {
    let server = Memcached::start();
    let (cache, other) = (server.cache(), server.cache());
    let counts = |call: &ObservedCall| match call.outcome {
        CallOutcome::Batch(counts) => counts,
        outcome => panic!("{outcome}"),
    };
    let call = only(|| batch(&cache, &[1, 2, 2]));
    assert_eq!((counts(&call).elements, counts(&call).misses), (2, 2));
    assert_eq!(call.calls.len(), 2, "{call:#?}");
    assert!(call.outcome.is_miss() && !call.outcome.is_hit() && call.cost.unwrap() >= 4 * MS);
    assert_eq!((call.key, call.stored_key, call.node), (None, None, None));

    assert_eq!(outcome(|| batch(&other, &[2])), "batch; hit=1");
    let call = only(|| batch(&other, &[1, 2, 3]));
    assert_eq!(call.outcome.to_string(), "batch; hit=1, near=1, miss=1");
    let call = only(|| batch(&other, &[1, 2, 3]));
    assert_eq!((call.outcome.to_string().as_str(), call.outcome.is_hit()), ("batch; near=3", true));
    assert_eq!((call.cost, call.calls), (None, vec![]), "no body ran");

    batch_entry(&other, &3).invalidate().unwrap();
    assert_eq!(outcome(|| batch(&other, &[3, 4])), "batch; miss=2");
    assert_eq!(outcome(|| with_mode(Mode::Bypass, || batch(&other, &[1, 9]))), "batch; bypass=2");
    assert_eq!(observed(|| batch(&cache, &[])).1.calls.len(), 0);
}

#[tokio::test]
async fn an_async_batch_is_one_call_with_those_of_its_body() {
    let cache = Cache::embedded();
    let calls = async |all: &[u64]| observed_async(async_batch(&cache, all)).await.1.calls;
    assert_eq!(tree(&calls(&[1, 2]).await), "batch batch; miss=2 [task1 miss; absent [], task2 miss; absent []]");
    assert_eq!(tree(&calls(&[1, 2]).await), "batch batch; hit=2 []");
}

#[test]
fn an_observation_within_another_hides_nothing_from_it() {
    let cache = Cache::embedded();
    let ((_, inner), seen) = observed(|| {
        plain(&cache, 1);
        let inner = observed(|| outer(&cache, 0));
        plain(&cache, 1);
        inner
    });
    let call = "outer0 miss; absent [plain0 miss; absent []]";
    assert_eq!(tree(&inner.calls), call);
    assert_eq!(tree(&seen.calls), format!("plain1 miss; absent [], {call}, plain1 hit []"));
}

#[tokio::test]
async fn an_async_observation_within_another_hides_nothing_from_it() {
    let cache = Cache::embedded();
    let ((_, inner), seen) = observed_async(async {
        task(&cache, 1).await;
        observed_async(async { tokio::join!(task(&cache, 1), task(&cache, 2)) }).await
    })
    .await;
    assert_eq!(tree(&inner.calls), "task1 hit [], task2 miss; absent []");
    assert_eq!(tree(&seen.calls), "task1 miss; absent [], task1 hit [], task2 miss; absent []");
}

#[test]
fn a_body_that_panics_leaves_its_call_unfinished() {
    let cache = Cache::embedded();
    let ((), seen) = observed(|| {
        let panicking = || slow(&cache, 1, || panic!("{}", plain(&cache, 5)));
        catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
        plain(&cache, 5);
    });
    assert_eq!(outcomes(&seen), ["unfinished", "hit"]);
    assert_eq!(outcomes_of(&seen.calls[0].calls), ["miss; absent"]);
    let panicking = || observed(|| slow(&cache, 2, || panic!("it does not work")));
    catch_unwind(AssertUnwindSafe(panicking)).unwrap_err();
    let ((), seen) = observed(|| ());
    assert_eq!(seen.calls, [], "the observation ended with the panic");
}

fn outcomes_of(calls: &[ObservedCall]) -> Vec<String> {
    calls.iter().map(|call| call.outcome.to_string()).collect()
}

#[tokio::test]
async fn a_future_that_is_dropped_leaves_its_call_unfinished() {
    #[memcached(key = "observed:endless", cache = cache, skip(cache))]
    async fn endless(cache: &Cache) -> u64 {
        task(cache, 1).await;
        std::future::pending().await
    }

    let server = Memcached::start();
    let cache = server.cache();
    let (_, seen) = observed_async(async {
        tokio::time::timeout(300 * MS, endless(&cache)).await.unwrap_err();
        task(&cache, 1).await
    })
    .await;
    assert_eq!(outcomes(&seen), ["unfinished", "hit"]);
    assert_eq!(outcomes_of(&seen.calls[0].calls), ["miss; absent"]);
    assert_eq!(seen.calls[0].key.as_deref(), Some("observed:endless"));
}

#[memcached(key = "observed:owned:<n>", ttl = 600, grace = 60, entry = owned_entry, cache = &cache, skip(cache, done))]
async fn owned(cache: Cache, n: u64, done: Arc<AtomicBool>) -> u64 {
    task(&cache, n).await;
    done.store(true, Ordering::Release);
    n
}

#[memcached(key = "observed:all_owned:<n>", each(n in all), ttl = 600, grace = 60, entry = all_owned_entry, cache = &cache, skip(cache, done))]
async fn all_owned(cache: Cache, all: Vec<u64>, done: Arc<AtomicBool>) -> Vec<u64> {
    task(&cache, 1).await;
    done.store(true, Ordering::Release);
    all
}

#[test]
fn a_refresh_in_the_background_is_not_the_callers() {
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        runtime().block_on(async {
            let done = Arc::new(AtomicBool::new(false));
            owned(cache.clone(), 1, Arc::clone(&done)).await;
            all_owned(cache.clone(), vec![1, 2], Arc::clone(&done)).await;
            owned_entry(cache.clone(), 1).invalidate().await.unwrap();
            all_owned_entry(cache.clone(), &2).invalidate().await.unwrap();
            let refreshed = async || {
                while !done.swap(false, Ordering::AcqRel) {
                    tokio::time::sleep(MS).await;
                }
            };
            done.store(false, Ordering::Release);
            let ((), seen) = observed_async(async {
                owned(cache.clone(), 1, Arc::clone(&done)).await;
                refreshed().await;
                all_owned(cache.clone(), vec![1, 2], Arc::clone(&done)).await;
                refreshed().await;
            })
            .await;
            let found = seen.every().map(|call| call.outcome.to_string()).collect::<Vec<_>>();
            assert_eq!(found, ["stale", "batch; hit=1, stale=1"]);
        });
    }
}
