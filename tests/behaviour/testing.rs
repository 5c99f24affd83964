//! Tests of memoized functions have a cache, a clock, faults and assertions of their
//! own, and never meet.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use memocached::testing::{assert_hit, assert_miss, assert_stale, with_cache, with_cache_async};
use memocached::{Cache, ErrorKind, Mode, Writing, group, invalidates, memcached, observed, updates, with_mode};
use tokio::runtime::Builder;

use crate::support::memcached::{Memcached, until};

const SECOND: Duration = Duration::from_secs(1);

group! {
    fn everyone() = "testing:everyone";
}

#[memcached(key = "testing:plain:<n>", ttl = 60, entry = plain_entry)]
fn plain(n: u64) -> u64 {
    n + 1
}

#[memcached(key = "testing:own:<n>", ttl = 60, cache = cache, skip(cache))]
fn own(cache: &Cache, n: u64) -> u64 {
    n
}

#[memcached(key = "testing:member:<n>", ttl = 60, group = everyone())]
fn member(n: u64) -> u64 {
    n
}

#[memcached(key = "testing:each:<n>", ttl = 60, each(n in numbers))]
fn each(numbers: &[u64]) -> Vec<u64> {
    numbers.to_vec()
}

#[memcached(key = "testing:graced:<n>", ttl = 60, grace = 60, skip(fails))]
fn graced(n: u64, fails: bool) -> Result<u64, String> {
    if fails { Err("no database".into()) } else { Ok(n) }
}

#[memcached(key = "testing:near:<n>", ttl = 60, near = 10)]
fn near(n: u64) -> u64 {
    n
}

#[memcached(key = "testing:absent:<n>", ttl = 60, cache_none = 10, cache_err = 5, skip(answer))]
fn absent(n: u64, answer: Result<Option<u64>, String>) -> Result<Option<u64>, String> {
    answer
}

#[memcached(key = "testing:async:<n>", ttl = 60, entry = asked_entry)]
async fn asked(n: u64) -> u64 {
    n
}

#[memcached(key = "testing:slow:<n>", ttl = 60)]
async fn slow(n: u64) -> u64 {
    tokio::time::sleep(20 * SECOND).await;
    n
}

#[invalidates(plain_entry(n))]
fn change(n: u64) {}

#[updates(plain_entry(n))]
fn replace(n: u64) -> u64 {
    n + 100
}

/// The message of an assertion that fails.
fn failure<R>(assert: impl FnOnce() -> R) -> String {
    let panic = catch_unwind(AssertUnwindSafe(assert)).err().expect("it fails");
    panic.downcast_ref::<String>().expect("a message").clone()
}

/// What the store answers to reading an entry.
fn error(n: u64) -> Option<ErrorKind> {
    plain_entry(n).get().err().map(|error| error.kind())
}

#[test]
fn tests_that_run_at_the_same_time_each_have_their_own_cache() {
    const THREADS: u64 = 32;
    let barrier = Barrier::new(THREADS as usize);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let barrier = &barrier;
            scope.spawn(move || {
                let cache = Cache::embedded();
                let clock = cache.clock();
                with_cache(&cache, || {
                    for _ in 0..50 {
                        barrier.wait();
                        assert_miss!(plain(1));
                        plain_entry(1).put(&thread).unwrap();
                        barrier.wait();
                        assert_eq!(assert_hit!(plain(1)), thread);
                        clock.advance(61 * SECOND);
                    }
                });
            });
        }
    });
}

#[test]
fn the_clock_moves_all_ends_to_the_second_and_of_one_cache_alone() {
    let (cache, other) = (Cache::embedded(), Cache::embedded());
    let clock = cache.clock();
    let all = || drop((plain(1), near(1), graced(1, false), absent(1, Ok(None)), absent(2, Err(String::new()))));
    with_cache(&other, all);
    with_cache(&cache, || {
        all();
        clock.advance(4 * SECOND);
        assert_hit!(absent(2, Ok(Some(2)))).unwrap_err();
        clock.advance(SECOND);
        assert_eq!(assert_miss!(absent(2, Ok(Some(2)))), Ok(Some(2)));
        clock.advance(4 * SECOND);
        assert_eq!(assert_hit!(absent(1, Ok(Some(1)))), Ok(None));
        assert_eq!(observed(|| near(1)).1.calls[0].outcome.to_string(), "near");
        clock.advance(SECOND);
        assert_eq!(assert_miss!(absent(1, Ok(Some(1)))), Ok(Some(1)));
        assert_eq!(observed(|| near(1)).1.calls[0].outcome.to_string(), "hit");
        clock.advance(49 * SECOND);
        // Without jitter.
        assert_hit!(plain(1));
        clock.advance(SECOND);
        assert_miss!(plain(1));
        assert_eq!(assert_stale!(graced(1, true)), Ok(1));
        clock.advance(60 * SECOND);
        assert_miss!(graced(1, true)).unwrap_err();
    });
    with_cache(&other, || assert_hit!(plain(1)));
}

#[test]
fn a_body_may_move_the_clock_and_its_value_is_kept() {
    #[memcached(key = "testing:moving", ttl = 60, skip(by))]
    fn moving(by: impl FnOnce()) -> u64 {
        by();
        1
    }
    let cache = Cache::embedded();
    let clock = cache.clock();
    with_cache(&cache, || {
        assert_miss!(moving(|| clock.advance(3_600 * SECOND)));
        assert_hit!(moving(|| unreachable!()));
    });
}

#[test]
fn a_writer_holds_off_by_the_clock() {
    let cache = Cache::embedded();
    let clock = cache.clock();
    with_cache(&cache, || {
        Writing::begin_holding_off(&plain_entry(1), 5 * SECOND).unwrap().done().unwrap();
        assert_miss!(plain(1));
        assert_miss!(plain(1));
        clock.advance(6 * SECOND);
        assert_miss!(plain(1));
        assert_hit!(plain(1));
    });
}

#[test]
fn entries_groups_writers_and_batches_use_the_cache_of_the_scope() {
    let (cache, other) = (Cache::embedded(), Cache::embedded());
    let prepare = || {
        assert_eq!((plain(1), member(1), each(&[1, 2])), (2, 1, vec![1, 2]));
        assert_eq!(plain_entry(1).get().unwrap(), Some(2));
    };
    with_cache(&cache, prepare);
    with_cache(&other, || {
        assert_eq!(plain_entry(1).get().unwrap(), None);
        assert_miss!(each(&[1, 2]));
        prepare();
        change(1);
        assert_eq!(assert_miss!(plain(1)), 2);
        replace(1);
        assert_eq!(assert_hit!(plain(1)), 101);
        everyone().invalidate().unwrap();
        assert_miss!(member(1));
        plain_entry(1).writing().unwrap().done().unwrap();
        assert_eq!(plain_entry(1).get().unwrap(), None);
    });
    with_cache(&cache, || {
        assert_eq!(assert_hit!(plain(1)), 2);
        assert_hit!(member(1));
        assert_hit!(each(&[1, 2]));
        everyone().of_cache(&other).invalidate().unwrap();
        assert_hit!(member(1));
    });
    with_cache(&other, || assert_miss!(member(1)));
}

#[test]
fn a_cache_that_the_attribute_names_wins() {
    let (scope, named) = (Cache::embedded(), Cache::embedded());
    with_cache(&scope, || assert_miss!(own(&named, 1)));
    assert_hit!(own(&named, 1));
}

#[test]
fn scopes_nest_and_end_with_a_panic() {
    let (outer, inner) = (Cache::embedded(), Cache::embedded());
    with_cache(&outer, || {
        assert_miss!(plain(7));
        with_cache(&inner, || assert_miss!(plain(7)));
        assert_hit!(plain(7));
        catch_unwind(AssertUnwindSafe(|| with_cache(&Cache::embedded(), || panic!("within")))).unwrap_err();
        assert_hit!(plain(7));
        with_mode(Mode::Bypass, || plain(7));
    });
    assert_miss!(plain(7));
}

#[test]
fn a_thread_has_no_cache_of_another() {
    with_cache(&Cache::embedded(), || {
        assert_miss!(plain(8));
        std::thread::scope(|scope| scope.spawn(|| assert_miss!(plain(8))).join().unwrap());
    });
}

#[tokio::test]
async fn futures_of_one_task_each_have_their_own_cache() {
    let (one, other) = (Cache::embedded(), Cache::embedded());
    let work = async |n: u64| {
        for _ in 0..3 {
            tokio::task::yield_now().await;
            assert_miss!(asked(n).await);
            tokio::task::yield_now().await;
            assert_hit!(asked(n).await);
            asked_entry(n).delete().await.unwrap();
        }
    };
    let plain = async { tokio::join!(work(10), work(11)) };
    tokio::join!(with_cache_async(&one, work(10)), with_cache_async(&other, work(10)), plain);
}

#[tokio::test]
async fn a_task_has_the_cache_on_a_runtime_of_one_thread() {
    let cache = Cache::embedded();
    with_cache_async(&cache, async {
        assert_miss!(asked(1).await);
        let task = tokio::spawn(async {
            assert_hit!(asked(1).await);
            tokio::spawn(async { assert_hit!(asked(1).await) }).await.unwrap();
        });
        task.await.unwrap();
        // Not on another thread.
        tokio::task::spawn_blocking(|| assert_miss!(plain(20))).await.unwrap();
        assert_miss!(plain(20));
        let moved = cache.clone();
        tokio::task::spawn_blocking(move || with_cache(&moved, || assert_hit!(plain(20)))).await.unwrap();
    })
    .await;
    // And not once the future has ended.
    tokio::spawn(async { assert_miss!(asked(1).await) }).await.unwrap();
    let refused = async { tokio::spawn(async { asked(1).await }).await.unwrap_err() };
    let (cache, other) = (Cache::embedded(), Cache::embedded());
    let around = with_cache_async(&cache, with_cache_async(&other, refused));
    assert!(around.await.is_panic(), "it could be either");
}

#[test]
fn a_runtime_of_one_thread_has_the_cache_that_it_is_blocked_on_with() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    with_cache(&Cache::embedded(), || {
        assert_miss!(plain(21));
        runtime.block_on(async { tokio::spawn(async { assert_hit!(plain(21)) }).await.unwrap() });
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cache_follows_its_future_between_threads_and_not_to_tasks_of_several() {
    let cache = Cache::embedded();
    with_cache_async(&cache, async { assert_miss!(asked(30).await) }).await;
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let hits = async {
                for _ in 0..20 {
                    assert_hit!(asked(30).await);
                    tokio::task::yield_now().await;
                }
            };
            tokio::spawn(with_cache_async(&cache, hits))
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let spawn = async { tokio::spawn(async { assert_miss!(asked(30).await) }).await.unwrap() };
    with_cache_async(&cache, spawn).await;
}

#[tokio::test]
async fn a_refresh_in_the_background_keeps_the_cache_of_its_call() {
    static INNER: AtomicU64 = AtomicU64::new(0);

    #[memcached(key = "testing:inner:<n>", ttl = 600)]
    async fn inner(n: u64) -> u64 {
        INNER.fetch_add(1, Ordering::SeqCst)
    }

    #[memcached(key = "testing:outer:<n>", ttl = 60, grace = 60, skip(done))]
    async fn outer(n: u64, done: Arc<AtomicBool>) -> u64 {
        tokio::task::yield_now().await;
        let value = inner(n).await;
        done.store(true, Ordering::SeqCst);
        value
    }

    let (cache, done) = (Cache::embedded(), Arc::new(AtomicBool::new(false)));
    let clock = cache.clock();
    with_cache_async(&cache, async {
        assert_miss!(inner(1).await);
        assert_miss!(outer(1, Arc::clone(&done)).await);
        done.store(false, Ordering::SeqCst);
        clock.advance(61 * SECOND);
        assert_stale!(outer(1, Arc::clone(&done)).await);
    })
    .await;
    // The future with the cache has ended.
    while !done.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
    assert_eq!(INNER.load(Ordering::SeqCst), 1, "it was kept");
    with_cache_async(&cache, async { assert_hit!(outer(1, done).await) }).await;
}

/// What a call and an entry come to on a cache that does not work.
fn trouble(cache: &Cache) -> (String, Option<ErrorKind>, Option<ErrorKind>) {
    with_cache(cache, || {
        let read = error(1);
        let stored = plain_entry(1).put(&1).err().map(|error| error.kind());
        let (value, seen) = observed(|| plain(1));
        assert_eq!(value, 2);
        (seen.calls[0].outcome.to_string(), read, stored)
    })
}

#[test]
fn a_store_that_is_down_cannot_be_reached() {
    let (cache, real) = (Cache::embedded(), Cache::builder().servers("127.0.0.1:1").build().unwrap());
    with_cache(&cache, || plain(1));
    cache.faults().down();
    let unavailable = "miss; unavailable".to_owned();
    let connect = Some(ErrorKind::Connect);
    assert_eq!(trouble(&cache), (unavailable.clone(), connect, connect));
    // A server is left alone after that.
    assert_eq!(trouble(&real), (unavailable, connect, Some(ErrorKind::CircuitOpen)));
    assert_eq!(cache.client().nodes().iter().map(|node| node.is_up).collect::<Vec<_>>(), [false]);
    cache.faults().heal();
    with_cache(&cache, || assert_hit!(plain(1)));
}

#[test]
fn a_store_that_is_too_slow_times_out_and_nobody_waits() {
    let server = Memcached::start();
    let build = || Cache::builder().timeout(400 * SECOND / 1_000);
    let (cache, real) = (build().build().unwrap(), build().servers(server.address()).build().unwrap());
    with_cache(&cache, || plain(1));
    with_cache(&real, || plain(1));
    server.freeze();
    cache.faults().slow(SECOND);
    let begun = Instant::now();
    let (outcome, read, stored) = trouble(&cache);
    assert!(begun.elapsed() < SECOND / 2, "{:?}", begun.elapsed());
    assert_eq!((&*outcome, read, stored), ("miss; unavailable", Some(ErrorKind::Timeout), Some(ErrorKind::Timeout)));
    let (outcome, read, _) = trouble(&real);
    assert_eq!((&*outcome, read), ("miss; unavailable", Some(ErrorKind::Timeout)));
    cache.faults().slow(SECOND / 100);
    with_cache(&cache, || assert_hit!(plain(1)));
}

#[test]
fn a_full_store_refuses_what_is_stored() {
    #[memcached(key = "testing:large:<n>", ttl = 60, entry = large_entry)]
    fn large(n: u64) -> Vec<u64> {
        (0..50_000).map(|m| u64::MAX - m).collect()
    }

    let server = Memcached::start_with(&["-M", "-m", "2"]);
    let (cache, real) = (Cache::embedded(), server.cache());
    let refused = || until("no room", || (0..100).find_map(|n| large_entry(n).put(&large(200)).err()));
    let refused = with_cache(&real, || with_mode(Mode::Bypass, refused));
    with_cache(&cache, || large_entry(1).put(&Vec::new()).unwrap());
    cache.faults().full();
    with_cache(&cache, || {
        assert_eq!(large_entry(1).put(&large(200)).unwrap_err().kind(), refused.kind());
        assert_eq!(refused.kind(), ErrorKind::Server);
        assert_eq!(large_entry(1).get().unwrap(), None);
        assert_miss!(large(1));
        assert_miss!(large(1));
        cache.faults().heal();
        assert_miss!(large(1));
        assert_hit!(large(1));
    });
}

#[test]
fn a_store_may_lose_what_it_is_given_at_once_or_what_it_has_now() {
    let cache = Cache::embedded();
    with_cache(&cache, || {
        assert_miss!(plain(1));
        assert_miss!(near(1));
        cache.faults().evict_all();
        assert_miss!(plain(1));
        assert_hit!(plain(1));
        assert_hit!(near(1));
        cache.faults().drops_writes();
        assert_hit!(plain(1));
        plain_entry(1).put(&7).unwrap();
        for _ in 0..3 {
            assert_miss!(plain(1));
            assert_miss!(member(1));
            assert_miss!(each(&[1, 2, 3]));
            change(1);
        }
    });
}

#[tokio::test]
async fn async_callers_see_the_same_faults() {
    let cache = Cache::embedded();
    with_cache_async(&cache, async {
        asked(1).await;
        for (fault, kind) in
            [(|cache: &Cache| cache.faults().down()) as fn(&Cache), |cache: &Cache| cache.faults().slow(SECOND)]
                .into_iter()
                .zip([ErrorKind::Connect, ErrorKind::Timeout])
        {
            fault(&cache);
            assert_eq!(asked_entry(1).get().await.unwrap_err().kind(), kind);
            assert_miss!(asked(1).await);
        }
        cache.faults().heal();
        assert_hit!(asked(1).await);
    })
    .await;
}

#[test]
fn servers_have_their_own_clocks_and_faults() {
    let server = Memcached::start();
    assert!(catch_unwind(AssertUnwindSafe(|| server.cache().clock())).is_err());
    assert!(catch_unwind(AssertUnwindSafe(|| server.cache().faults())).is_err());
}

#[test]
fn an_assertion_that_fails_names_what_each_call_was() {
    let cache = Cache::builder().namespace("shop").build().unwrap();
    let clock = cache.clock();
    with_cache(&cache, || {
        let message = failure(|| assert_hit!(plain(1)));
        let (call, rest) = message.split_once('\n').unwrap();
        assert_eq!(call, "`plain(1)` was to be a hit, but was:");
        assert!(rest.starts_with("  miss; absent (") && rest.contains("plain, key `testing:plain:1`"), "{rest}");
        assert!(rest.ends_with("stored as `shop:testing:plain:1`, asked of embedded)"), "{rest}");
        assert!(failure(|| assert_miss!(plain(1))).contains("\n  hit ("));
        let none = failure(|| assert_hit!(1 + 1));
        assert_eq!(none, "`1 + 1` was to be a hit, but made no call of a memoized function");
        graced(1, false).unwrap();
        clock.advance(61 * SECOND);
        assert!(failure(|| assert_hit!(graced(1, true))).contains("stale ("));
        assert!(failure(|| assert_stale!(plain(1))).contains("miss; absent ("));
        each(&[1]);
        assert!(failure(|| assert_miss!(each(&[1, 2]))).contains("batch; hit=1, miss=1"));
        assert!(failure(|| assert_hit!(each(&[1, 3]))).contains("batch; hit=1, miss=1"));
        // All outermost calls count.
        assert!(failure(|| assert_hit!((plain(1), plain(50)))).contains("testing:plain:50"));
        assert!(failure(|| assert_miss!(with_mode(Mode::Bypass, || plain(9)))).contains("bypass"));
    });
}

#[tokio::test]
async fn an_assertion_takes_any_expression_that_waits() {
    async fn some(n: u64) -> Option<u64> {
        Some(asked(n).await)
    }
    let test = async || -> Option<u64> {
        assert_miss!(some(1).await)?;
        assert_hit!(some(1).await.unwrap());
        Some(assert_hit!(some(1).await)? + assert_hit!(asked(1).await))
    };
    assert_eq!(with_cache_async(&Cache::embedded(), test()).await, Some(2));
}

#[tokio::test(start_paused = true)]
async fn tokios_clock_moves_an_embedded_cache() {
    let cache = Cache::builder().jitter(0).build().unwrap();
    let test = async {
        assert_miss!(asked(1).await);
        assert_miss!(near(1));
        tokio::time::advance(59 * SECOND).await;
        assert_hit!(asked(1).await);
        assert_eq!(observed(|| near(1)).1.calls[0].outcome.to_string(), "hit");
        tokio::time::advance(SECOND).await;
        assert_miss!(asked(1).await);
        // Longer than a lease.
        assert_miss!(slow(1).await);
        assert_hit!(slow(1).await);
        tokio::time::sleep(60 * SECOND).await;
        assert_miss!(slow(1).await);
        // In hand, it moves by itself no more.
        let clock = cache.clock();
        tokio::time::advance(60 * SECOND).await;
        assert_hit!(slow(1).await);
        clock.advance(60 * SECOND);
        assert_miss!(slow(1).await);
    };
    let begun = Instant::now();
    with_cache_async(&cache, test).await;
    assert!(begun.elapsed() < 10 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn callers_wait_for_one_computation_while_the_clock_is_paused() {
    static RUNS: AtomicU64 = AtomicU64::new(0);

    #[memcached(key = "testing:one", ttl = 60)]
    async fn one() -> u64 {
        tokio::time::sleep(30 * SECOND).await;
        RUNS.fetch_add(1, Ordering::SeqCst)
    }

    let all = futures_util::future::join_all((0..20).map(|_| one()));
    assert_eq!(with_cache_async(&Cache::embedded(), all).await, [0; 20]);
}

#[tokio::test(start_paused = true)]
async fn a_server_has_real_time_while_the_clock_is_paused() {
    let server = Memcached::start();
    let begun = tokio::time::Instant::now();
    let test = async {
        for n in 0..20 {
            assert_miss!(asked(n).await);
            assert_hit!(asked(n).await);
        }
        // On a connection that they share.
        let all = futures_util::future::join_all((0..200).map(|n| async move { assert_hit!(asked(n % 20).await) }));
        assert_eq!(all.await.len(), 200);
        // Timers of the test's own do not go off, either.
        tokio::time::timeout(SECOND / 1_000, async { assert_miss!(asked(20).await) }).await.unwrap();
        assert_eq!(server.cache().async_client().get_many::<String>(["a", "b"]).await.values.len(), 0);
    };
    with_cache_async(&server.cache(), test).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    let client = Cache::builder().servers(server.address()).timeout(SECOND / 5).build().unwrap().async_client();
    client.set("a", "b", SECOND).await.unwrap();
    server.freeze();
    let began = Instant::now();
    assert_eq!(client.get::<String>("a").await.unwrap_err().kind(), ErrorKind::Timeout);
    assert!(began.elapsed() >= SECOND / 6, "{:?}", began.elapsed());
    assert_eq!(begun.elapsed(), Duration::ZERO);
}
