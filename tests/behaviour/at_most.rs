//! `at_most`: so many bodies of a function run at once, and the callers that wait for a
//! place are never worse off than that.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use memocached::{Cache, Mode, memcached, with_mode};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{RwLock, Semaphore};

use crate::support::lag::Lag;
use crate::support::memcached::{Memcached, until};

const MS: Duration = Duration::from_millis(1);

fn runtime(workers: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap()
}

/// What bodies do: they count themselves, and end once they may.
#[derive(Default)]
struct Bodies {
    begun: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
    /// Bodies of threads end while this is free, those of tasks while it has permits.
    thread_gate: std::sync::RwLock<()>,
    task_gate: Option<Semaphore>,
}

impl Bodies {
    /// Bodies of tasks that end once there is a permit.
    fn gated() -> Arc<Self> {
        Arc::new(Bodies { task_gate: Some(Semaphore::new(0)), ..Bodies::default() })
    }

    fn open(&self) {
        self.task_gate.as_ref().unwrap().add_permits(1_000);
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::Relaxed)
    }

    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(1 + self.running.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    fn end(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }

    fn run(&self) {
        self.begin();
        drop(self.thread_gate.read());
        thread::yield_now();
        self.end();
    }

    async fn run_async(&self) {
        self.begin();
        if let Some(gate) = &self.task_gate {
            gate.acquire().await.unwrap().forget();
        }
        tokio::task::yield_now().await;
        self.end();
    }
}

/// Polls a future once and keeps it.
async fn polled_once<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    future
}

#[memcached(key = "at_most:<n>", at_most = 3, cache = cache, skip(cache, bodies))]
fn three(cache: &Cache, n: usize, bodies: &Bodies) -> usize {
    bodies.run();
    n
}

#[test]
fn so_many_bodies_of_a_blocking_function_run_at_once() {
    let (cache, bodies, arrived) = (Cache::embedded(), Bodies::default(), AtomicUsize::new(0));
    let gate = bodies.thread_gate.write().unwrap();
    thread::scope(|scope| {
        for thread in 0..16 {
            let (cache, bodies, arrived) = (&cache, &bodies, &arrived);
            scope.spawn(move || {
                arrived.fetch_add(1, Ordering::Relaxed);
                for n in (thread * 20)..(thread * 20 + 20) {
                    assert_eq!(three(cache, n, bodies), n);
                }
            });
        }
        until("three", || (arrived.load(Ordering::Relaxed) == 16 && bodies.begun() == 3).then_some(()));
        drop(gate);
    });
    assert_eq!((bodies.begun(), bodies.most.load(Ordering::Relaxed)), (320, 3));
}

const TWO: usize = 2;

#[memcached(key = "at_most:async:<n>", at_most = TWO, cache = &cache, skip(cache, bodies))]
async fn two(cache: Cache, n: usize, bodies: Arc<Bodies>) -> usize {
    bodies.run_async().await;
    n
}

#[test]
fn so_many_bodies_of_an_async_function_run_at_once() {
    let (cache, bodies) = (Cache::embedded(), Bodies::gated());
    runtime(2).block_on(async {
        let calls: Vec<_> = (0..200).map(|n| tokio::spawn(two(cache.clone(), n % 100, Arc::clone(&bodies)))).collect();
        while bodies.begun() < 2 {
            tokio::task::yield_now().await;
        }
        bodies.open();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), n % 100);
        }
    });
    // On a busy machine one is taken for stuck, and computed once more.
    assert!((100..105).contains(&bodies.begun()), "{} bodies", bodies.begun());
    assert_eq!(bodies.most.load(Ordering::Relaxed), 2);
}

#[test]
fn calls_without_a_cache_count_as_well() {
    #[memcached(key = "at_most:off:<n>", at_most = 1, skip(bodies))]
    fn one(n: usize, bodies: &Bodies) -> usize {
        bodies.run();
        n
    }
    let (bodies, arrived) = (Bodies::default(), AtomicUsize::new(0));
    let gate = bodies.thread_gate.write().unwrap();
    thread::scope(|scope| {
        for n in 0..8 {
            let (bodies, arrived) = (&bodies, &arrived);
            scope.spawn(move || {
                arrived.fetch_add(1, Ordering::Relaxed);
                assert_eq!(with_mode(Mode::Bypass, || one(n, bodies)), n);
            });
        }
        until("one", || (arrived.load(Ordering::Relaxed) == 8 && bodies.begun() == 1).then_some(()));
        drop(gate);
    });
    assert_eq!((bodies.begun(), bodies.most.load(Ordering::Relaxed)), (8, 1));
}

#[tokio::test]
async fn who_gets_a_place_takes_what_was_stored_meanwhile() {
    #[memcached(key = "at_most:stored:<n>", at_most = 1, cache = &cache, skip(cache, bodies), entry = one_entry)]
    async fn one(cache: Cache, n: usize, bodies: Arc<Bodies>) -> usize {
        bodies.run_async().await;
        n
    }
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        let bodies = Bodies::gated();
        let call = |n| tokio::spawn(one(cache.clone(), n, Arc::clone(&bodies)));
        let first = call(1);
        while bodies.begun() < 1 {
            tokio::task::yield_now().await;
        }
        let second = call(2);
        // Its lookup has left a lease by then.
        tokio::time::sleep(20 * MS).await;
        one_entry(cache.clone(), 2).put(&7).await.unwrap();
        bodies.open();
        assert_eq!((first.await.unwrap(), second.await.unwrap()), (1, 7));
        assert_eq!(bodies.begun(), 1);
    }
}

#[test]
fn an_old_value_is_served_where_no_place_is_free() {
    #[memcached(key = "at_most:old:<n>", grace = 60, at_most = 1, cache = cache, skip(cache, bodies), entry = one_entry)]
    fn one(cache: &Cache, n: usize, bodies: &Bodies) -> usize {
        bodies.run();
        n + 10 * bodies.begun()
    }
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        let bodies = Bodies::default();
        assert_eq!(one(&cache, 1, &bodies), 11);
        assert!(one_entry(&cache, 1).invalidate().unwrap());
        let gate = bodies.thread_gate.write().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| one(&cache, 2, &bodies));
            until("a body", || (bodies.begun() == 2).then_some(()));
            assert_eq!([one(&cache, 1, &bodies), one(&cache, 1, &bodies)], [11, 11], "the old value");
            drop(gate);
        });
        assert_eq!(bodies.begun(), 2);
    }
}

#[test]
fn a_refresh_in_the_background_begins_only_where_a_place_is_free() {
    #[memcached(key = "at_most:refresh:<n>", grace = 60, at_most = 1, cache = &cache, skip(cache, database, asked), entry = row_entry)]
    async fn row(cache: Cache, n: u64, database: Arc<RwLock<u64>>, asked: Arc<AtomicUsize>) -> u64 {
        asked.fetch_add(1, Ordering::Relaxed);
        *database.read().await + n
    }
    let (runtime, cache) = (runtime(2), Cache::embedded());
    let (database, asked) = (Arc::new(RwLock::new(1_000)), Arc::new(AtomicUsize::new(0)));
    let ask = |n| row(cache.clone(), n, Arc::clone(&database), Arc::clone(&asked));
    let asked_for = || asked.load(Ordering::Relaxed);
    assert_eq!(runtime.block_on(ask(1)), 1_001);
    assert!(runtime.block_on(row_entry(cache.clone(), 1).invalidate()).unwrap());
    let mut writing = runtime.block_on(database.write());
    let miss = runtime.spawn(ask(2));
    until("a miss", || (asked_for() == 2).then_some(()));
    assert_eq!(runtime.block_on(ask(1)), 1_001);
    *writing = 2_000;
    drop(writing);
    assert_eq!(runtime.block_on(miss).unwrap(), 2_002);
    assert_eq!((asked_for(), runtime.block_on(ask(1))), (2, 1_001), "given up for now");
    assert!(runtime.block_on(row_entry(cache.clone(), 1).invalidate()).unwrap());
    until("a refresh", || (runtime.block_on(ask(1)) == 2_001).then_some(()));
    assert_eq!(asked_for(), 3);
}

#[memcached(key = "at_most:fib:<n>", at_most = 1, cache = cache, skip(cache))]
fn fib(cache: &Cache, n: u64) -> u64 {
    if n < 2 { n } else { fib(cache, n - 1) + fib(cache, n - 2) }
}

#[memcached(key = "at_most:fib_async:<n>", at_most = 1, cache = &cache, skip(cache))]
fn fib_async(cache: Cache, n: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(
        async move { if n < 2 { n } else { fib_async(cache.clone(), n - 1).await + fib_async(cache, n - 2).await } },
    )
}

/// Both are under a limit, and each calls the other.
#[memcached(key = "at_most:even:<n>", at_most = 1, cache = cache, skip(cache))]
fn even(cache: &Cache, n: u64) -> bool {
    n == 0 || odd(cache, n - 1)
}

#[memcached(key = "at_most:odd:<n>", at_most = 1, cache = cache, skip(cache))]
fn odd(cache: &Cache, n: u64) -> bool {
    n != 0 && even(cache, n - 1)
}

/// An error of this costs five seconds: nothing is known of the time yet.
#[test]
fn what_a_body_calls_waits_for_no_place() {
    let (cache, begun) = (Cache::embedded(), Instant::now());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(fib(&cache, 30), 832_040));
            scope.spawn(|| assert!(even(&cache, 40)));
        }
    });
    let calls = async { join_all((0..4).map(|_| tokio::spawn(fib_async(cache.clone(), 20)))).await };
    let calls = runtime(2).block_on(calls);
    assert!(calls.into_iter().all(|value| value.unwrap() == 6_765));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[memcached(key = "at_most:batch:<n>", each(n in all), at_most = 1, grace = 60, cache = cache, skip(cache, bodies), entry = batch_entry)]
fn batch(cache: &Cache, all: &[usize], bodies: &Bodies) -> Vec<usize> {
    bodies.run();
    all.iter().map(|n| if *n > 100 { batch(cache, &[*n - 100, *n - 99], bodies)[1] } else { *n }).collect()
}

#[test]
fn a_batch_is_one_body_and_serves_old_values_where_no_place_is_free() {
    let (cache, bodies) = (Cache::embedded(), Bodies::default());
    assert_eq!(batch(&cache, &[1, 2, 3], &bodies), [1, 2, 3]);
    assert_eq!(bodies.begun(), 1);
    assert_eq!(batch(&cache, &[201, 202], &bodies), [3, 4], "and needs no place inside a body");
    let begun = bodies.begun();
    for n in 1..3 {
        assert!(batch_entry(&cache, &n).invalidate().unwrap());
    }
    let gate = bodies.thread_gate.write().unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| batch(&cache, &[50, 51], &bodies));
        until("a body", || (bodies.begun() == begun + 1).then_some(()));
        assert_eq!(batch(&cache, &[1, 2, 3], &bodies), [1, 2, 3]);
        assert_eq!(bodies.begun(), begun + 1);
        let waits = scope.spawn(|| batch(&cache, &[3, 60, 61], &bodies));
        drop(gate);
        assert_eq!((other.join().unwrap(), waits.join().unwrap()), (vec![50, 51], vec![3, 60, 61]));
    });
    assert_eq!((bodies.begun(), bodies.running.load(Ordering::Relaxed)), (begun + 2, 0));
}

#[memcached(key = "at_most:batch_async:<n>", each(n in all), at_most = 1, grace = 60, cache = &cache, skip(cache, bodies), entry = rows_entry)]
async fn rows(cache: Cache, all: Vec<usize>, bodies: Arc<Bodies>) -> Vec<usize> {
    bodies.run_async().await;
    all.into_iter().map(|n| n + 1_000 * bodies.begun()).collect()
}

#[test]
fn batches_and_their_refreshes_under_a_limit_all_end() {
    let (runtime, cache, bodies) = (runtime(2), Cache::embedded(), Bodies::gated());
    let call = |all: [usize; 2]| rows(cache.clone(), all.into(), Arc::clone(&bodies));
    let first = runtime.spawn(call([1, 2]));
    until("a body", || (bodies.begun() == 1).then_some(()));
    let [second, third] = [[2, 3], [4, 5]].map(|all| runtime.spawn(call(all)));
    bodies.open();
    let values = runtime.block_on(async { [first.await.unwrap(), second.await.unwrap(), third.await.unwrap()] });
    assert_eq!(values[0], [1_001, 1_002]);
    assert_eq!(bodies.most.load(Ordering::Relaxed), 1);
    for n in [1, 2] {
        assert!(runtime.block_on(rows_entry(cache.clone(), &n).invalidate()).unwrap());
    }
    let begun = bodies.begun();
    assert_eq!(runtime.block_on(call([1, 2])), [1_001, 1_002]);
    until("a refresh", || (runtime.block_on(call([1, 2])) != [1_001, 1_002]).then_some(()));
    assert_eq!((bodies.begun(), bodies.most.load(Ordering::Relaxed)), (begun + 1, 1));
}

#[tokio::test]
async fn a_call_that_is_cancelled_gives_its_place_or_its_turn_back() {
    #[memcached(key = "at_most:cancelled:<n>", at_most = 1, cache = &cache, skip(cache, bodies))]
    async fn one(cache: Cache, n: usize, bodies: Arc<Bodies>) -> usize {
        bodies.run_async().await;
        n
    }
    let (cache, bodies) = (Cache::embedded(), Bodies::gated());
    let call = |n| polled_once(one(cache.clone(), n, Arc::clone(&bodies)));
    let (running, [next, then, last]) = (call(1).await, [call(2).await, call(3).await, call(4).await]);
    assert_eq!(bodies.begun(), 1);
    drop(next);
    drop(running);
    // It has got its turn, and is dropped before it knows.
    drop(then);
    bodies.open();
    assert_eq!((last.await, bodies.begun()), (4, 2));
    assert_eq!(one(cache.clone(), 2, Arc::clone(&bodies)).await, 2);
}

#[test]
fn a_body_that_panics_gives_its_place_back() {
    #[memcached(key = "at_most:panics:<n>", at_most = 1, cache = cache, skip(cache))]
    fn one(cache: &Cache, n: usize) -> usize {
        assert!(n > 0, "on purpose");
        n
    }
    let (cache, begun) = (Cache::embedded(), Instant::now());
    for n in 1..4 {
        assert!(catch_unwind(AssertUnwindSafe(|| one(&cache, 0))).is_err());
        assert_eq!(one(&cache, n), n);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[test]
fn a_body_that_is_stuck_holds_others_up_once_and_for_half_as_long_again_as_usual() {
    #[memcached(key = "at_most:stuck:<n>", at_most = 1, cache = &cache, skip(cache, bodies))]
    async fn one(cache: Cache, n: usize, bodies: Arc<Bodies>) -> usize {
        match n {
            0 => bodies.run_async().await,
            _ => tokio::time::sleep(100 * MS).await,
        }
        n
    }
    let (lag, cache, bodies) = (Lag::watch(), Cache::embedded(), Bodies::gated());
    let call = |n| one(cache.clone(), n, Arc::clone(&bodies));
    runtime(2).block_on(async {
        assert_eq!(call(1).await, 1);
        let stuck = tokio::spawn(call(0));
        while bodies.begun() < 1 {
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        assert_eq!(call(2).await, 2);
        // Until the stuck one has run for 150 ms, and then for as long as computing takes.
        lag.check("behind a stuck body", begun.elapsed(), 350 * MS);
        let begun = Instant::now();
        assert_eq!(call(3).await, 3);
        lag.check("after that", begun.elapsed(), 200 * MS);
        bodies.open();
        assert_eq!(stuck.await.unwrap(), 0);
        assert_eq!(call(4).await, 4);
    });
}

/// A body waits for tasks that call the same function, until it counts no longer: that wait
/// says nothing about computing.
#[test]
fn parents_that_wait_for_a_place_do_not_make_callers_more_patient() {
    #[memcached(key = "at_most:family:<n>", at_most = 1, cache = &cache, skip(cache))]
    async fn member(cache: Cache, n: u32) -> u32 {
        tokio::time::sleep(5 * MS).await;
        if n.is_multiple_of(3) {
            let children = [1, 2].map(|child| tokio::spawn(of_parent(cache.clone(), n + child)));
            join_all(children).await.into_iter().for_each(|child| assert!(child.is_ok()));
        }
        n
    }
    fn of_parent(cache: Cache, n: u32) -> Pin<Box<dyn Future<Output = u32> + Send>> {
        Box::pin(member(cache, n))
    }
    let (lag, cache) = (Lag::watch(), Cache::embedded());
    runtime(2).block_on(async {
        assert_eq!(member(cache.clone(), 1_000).await, 1_000);
        for family in 0..30 {
            let begun = Instant::now();
            assert_eq!(member(cache.clone(), 3 * family).await, 3 * family);
            lag.check("a family", begun.elapsed(), 300 * MS);
        }
    });
}

#[test]
fn a_caller_in_another_process_waits_no_longer_for_one_that_waits_for_a_place() {
    #[memcached(key = "at_most:lease:<n>", at_most = 1, cache = &cache, skip(cache, bodies))]
    async fn limited(cache: Cache, n: usize, bodies: Arc<Bodies>) -> usize {
        bodies.run_async().await;
        n
    }
    // As far as leases go, another cache is another process; and this function has no limit.
    #[memcached(key = "at_most:lease:<n>", cache = &cache, skip(cache))]
    async fn elsewhere(cache: Cache, n: usize) -> usize {
        tokio::time::sleep(50 * MS).await;
        n + 1_000
    }
    let (lag, server, bodies) = (Lag::watch(), Memcached::start(), Bodies::gated());
    let (here, there) = (server.cache(), server.cache());
    runtime(2).block_on(async {
        assert_eq!(elsewhere(there.clone(), 1).await, 1_001);
        let first = tokio::spawn(limited(here.clone(), 2, Arc::clone(&bodies)));
        while bodies.begun() < 1 {
            tokio::task::yield_now().await;
        }
        let waits = tokio::spawn(limited(here, 3, Arc::clone(&bodies)));
        // Its lease is there by then.
        tokio::time::sleep(20 * MS).await;
        let begun = Instant::now();
        assert_eq!(elsewhere(there, 3).await, 1_003);
        lag.check("behind one that waits", begun.elapsed(), 100 * MS + 100 * MS + 50 * MS);
        bodies.open();
        assert_eq!((first.await.unwrap(), waits.await.unwrap()), (2, 1_003), "what was stored meanwhile");
    });
    assert_eq!(bodies.begun(), 1);
}

#[test]
fn a_worker_of_a_runtime_goes_on_while_a_call_waits_for_a_place() {
    #[memcached(key = "at_most:worker:<n>", at_most = 1, cache = cache, skip(cache, bodies))]
    fn one(cache: &Cache, n: usize, bodies: &Bodies) -> usize {
        bodies.run();
        n
    }
    let (cache, bodies, arrived) = (Cache::embedded(), Arc::<Bodies>::default(), Arc::new(AtomicUsize::new(0)));
    let gate = bodies.thread_gate.write().unwrap();
    let first = {
        let (cache, bodies) = (cache.clone(), Arc::clone(&bodies));
        thread::spawn(move || one(&cache, 0, &bodies))
    };
    until("a body", || (bodies.begun() == 1).then_some(()));
    let runtime = runtime(1);
    let calls: Vec<_> = (1..4)
        .map(|n| {
            let (cache, bodies, arrived) = (cache.clone(), Arc::clone(&bodies), Arc::clone(&arrived));
            runtime.spawn(async move {
                arrived.fetch_add(1, Ordering::Relaxed);
                one(&cache, n, &bodies)
            })
        })
        .collect();
    until("all to wait on one worker", || (arrived.load(Ordering::Relaxed) == 3).then_some(()));
    drop(gate);
    assert_eq!(first.join().unwrap(), 0);
    assert_eq!(runtime.block_on(join_all(calls)).into_iter().map(Result::unwrap).sum::<usize>(), 6);
}

#[tokio::test]
async fn a_call_that_gets_its_turn_and_is_not_polled_holds_nobody_up_for_long() {
    #[memcached(key = "at_most:unpolled:<n>", at_most = 1, cache = &cache, skip(cache, bodies))]
    async fn one(cache: Cache, n: usize, bodies: Arc<Bodies>) -> usize {
        bodies.run_async().await;
        n
    }
    let (lag, cache, bodies) = (Lag::watch(), Cache::embedded(), Bodies::gated());
    let call = |n| one(cache.clone(), n, Arc::clone(&bodies));
    let running = polled_once(call(1)).await;
    let mut unpolled = polled_once(call(2)).await;
    bodies.open();
    assert_eq!(running.await, 1);
    // The same key: its leader has its turn.
    let begun = Instant::now();
    assert_eq!(call(2).await, 2);
    lag.check("behind a leader that stands still", begun.elapsed(), 500 * MS);
    assert!(pin!(&mut unpolled).poll(&mut Context::from_waker(Waker::noop())).is_ready());
}
