//! Waiting for another caller of this process costs about what computing would
//! have cost, whatever that caller does.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use memocached::{Cache, memcached};
use rayon::prelude::*;

use crate::support::lag::Lag;
use crate::support::memcached::Memcached;

const MS: Duration = Duration::from_millis(1);
const TIMEOUT: Duration = Duration::from_millis(100);

/// What a call may take whose body takes so long: it waits, then computes.
fn most(body: Duration) -> Duration {
    body * 5 / 2 + TIMEOUT
}

fn runtime(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build().unwrap()
}

/// Caches on the embedded store and on a real server.
fn caches() -> (Memcached, [Cache; 2]) {
    let server = Memcached::start();
    let real = server.cache();
    (server, [Cache::embedded(), real])
}

/// Polls a future once and keeps it, as a `select!` may do with the branch that
/// loses.
async fn polled_once<F: Future>(future: F) -> Pin<Box<F>> {
    let mut future = Box::pin(future);
    let polled = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    assert!(polled.is_pending());
    future
}

/// Polls a future for so long and keeps it, unless a busy machine is late and it
/// is ready by then.
async fn polled_for<F: Future>(time: Duration, future: F) -> Option<Pin<Box<F>>> {
    let mut future = Box::pin(future);
    tokio::select! {
        biased;
        _ = &mut future => None,
        () = tokio::time::sleep(time) => Some(future),
    }
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    (work.await, begun.elapsed())
}

/// Computes for so long.
async fn compute(body: Duration) {
    if body < MS { tokio::task::yield_now().await } else { tokio::time::sleep(body).await }
}

macro_rules! sites {
    ($($site:ident),*) => {$(
        /// A site of its own for each body: what it usually takes is what callers
        /// wait for.
        #[memcached(key = "body:<n>", cache = &cache, skip(cache, body))]
        async fn $site(cache: Cache, n: u32, body: Duration) -> u32 {
            compute(body).await;
            n
        }
    )*};
}

/// Asks for keys whose leaders are kept without being polled after so long.
async fn ask_behind_kept<F: Future<Output = u32>>(
    caches: &[Cache],
    slow: impl Fn(Cache, u32, Duration) -> F,
    body: Duration,
    keys: std::ops::Range<u32>,
) {
    let lag = Lag::watch();
    for cache in caches {
        for n in keys.clone() {
            let leader = slow(cache.clone(), n, body);
            let kept = if body < MS { Some(polled_once(leader).await) } else { polled_for(body / 3, leader).await };
            let (value, took) = timed(slow(cache.clone(), n, body)).await;
            assert_eq!(value, n);
            // Polled once, it has but sent its lookup to a real server: until the
            // first body has ended, its lease is another process's as far as one
            // can see.
            let is_blind = body < MS && n == keys.start;
            lag.check("behind a kept leader", took, if is_blind { Duration::from_secs(5) } else { most(body) });
            drop(kept);
        }
    }
}

#[test]
fn a_leader_that_is_kept_without_being_polled_is_not_waited_for() {
    sites!(micros, short, long, longest);
    let (_server, caches) = caches();
    runtime(2).block_on(async {
        tokio::join!(
            ask_behind_kept(&caches, micros, Duration::from_micros(5), 0..5),
            ask_behind_kept(&caches, short, 30 * MS, 100..105),
            ask_behind_kept(&caches, long, 300 * MS, 200..202),
            ask_behind_kept(&caches, longest, 2_000 * MS, 300..301),
        );
    });
}

/// Polled once, it has sent its lookup, and knows nothing of the lease it won.
#[test]
fn a_leader_that_is_kept_with_its_lookup_under_way_is_waited_for_no_longer_than_computing_takes() {
    sites!(short, long);
    let server = Memcached::start();
    let (cache, lag) = (server.cache(), Lag::watch());
    runtime(2).block_on(async {
        for n in 0..5 {
            if n == 0 {
                short(cache.clone(), 100, 30 * MS).await;
                long(cache.clone(), 200, 300 * MS).await;
            }
            let kept = polled_once(short(cache.clone(), n, 30 * MS)).await;
            let (_, took) = timed(short(cache.clone(), n, 30 * MS)).await;
            lag.check("behind a lookup", took, most(30 * MS));
            drop(kept);
        }
        let kept = polled_once(long(cache.clone(), 9, 300 * MS)).await;
        let (_, took) = timed(long(cache.clone(), 9, 300 * MS)).await;
        lag.check("behind a lookup", took, most(300 * MS));
        drop(kept);
    });
}

async fn consume_stream<F: Future<Output = u32>>(
    caches: &[Cache],
    first: u32,
    slow: impl Fn(Cache, u32, Duration) -> F,
    body: Duration,
) {
    let lag = Lag::watch();
    for cache in caches {
        let slow = &slow;
        // The first is ready while the two others are under way.
        let pause = |n: u32| if n == first { body / 2 } else { body };
        let mut stream = stream::iter(first..first + 3).map(|n| slow(cache.clone(), n, pause(n))).buffer_unordered(3);
        assert_eq!(stream.next().await, Some(first));
        let (value, took) = timed(slow(cache.clone(), first + 2, body)).await;
        assert_eq!(value, first + 2);
        lag.check("within a stream", took, most(body));
        let (rest, took) = timed(stream.collect::<Vec<_>>()).await;
        assert_eq!(rest.len(), 2);
        lag.check("the rest of the stream", took, most(body));
    }
}

#[test]
fn a_stream_whose_consumer_asks_for_a_key_under_way_in_it_goes_on() {
    sites!(short, long, longest);
    let (_server, caches) = caches();
    runtime(2).block_on(async {
        tokio::join!(
            consume_stream(&caches, 0, short, 30 * MS),
            consume_stream(&caches, 10, long, 300 * MS),
            consume_stream(&caches, 20, longest, 2_000 * MS),
        );
    });
}

macro_rules! families {
    ($($parent:ident $child:ident),*) => {$(
        #[memcached(key = "family:<n>", cache = &cache, skip(cache, depth, body))]
        async fn $parent(cache: Cache, n: u32, depth: u32, body: Duration) -> u32 {
            match depth.checked_sub(1) {
                Some(depth) => tokio::spawn($child(cache.clone(), n, depth, body)).await.unwrap(),
                None => {
                    tokio::time::sleep(body).await;
                    n
                }
            }
        }

        fn $child(cache: Cache, n: u32, depth: u32, body: Duration) -> Pin<Box<dyn Future<Output = u32> + Send>> {
            Box::pin($parent(cache, n, depth, body))
        }
    )*};
}

/// A child that the body has spawned asks for its parent's key. No caller can see
/// that, so the first such call takes five seconds; later ones know better.
#[test]
fn a_child_that_waits_for_its_parent_costs_five_seconds_once_at_most() {
    families!(family child);
    let (cache, lag) = (Cache::embedded(), Lag::watch());
    runtime(2).block_on(async {
        let (value, first) = timed(family(cache.clone(), 1, 1, 30 * MS)).await;
        assert_eq!(value, 1);
        lag.check("a parent in the dark", first, Duration::from_secs(5) + most(30 * MS));
        for n in 2..6 {
            let (value, took) = timed(family(cache.clone(), n, 1, 30 * MS)).await;
            assert_eq!(value, n);
            lag.check("a parent", took, most(30 * MS));
        }
    });
}

#[test]
fn parents_that_wait_for_their_children_do_not_make_callers_more_patient() {
    families!(family child, long_family long_child);
    let (cache, lag) = (Cache::embedded(), Lag::watch());
    runtime(2).block_on(async {
        assert_eq!(family(cache.clone(), 0, 0, 20 * MS).await, 0);
        for n in 1..40 {
            let (_, took) = timed(family(cache.clone(), n, 1, 20 * MS)).await;
            lag.check("one of many parents", took, most(20 * MS));
        }
        assert_eq!(long_family(cache.clone(), 100, 0, 300 * MS).await, 100);
        let (_, took) = timed(long_family(cache.clone(), 101, 1, 300 * MS)).await;
        lag.check("a parent", took, most(300 * MS));
    });
}

/// A blocking function on the runtime's workers, whose body needs them too.
#[test]
fn a_worker_that_waits_is_handed_over() {
    const BODY: Duration = Duration::from_millis(50);

    #[memcached(key = "workers:<n>", cache = cache, skip(cache))]
    fn blocking(cache: &Cache, n: u32) -> u32 {
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async {
                tokio::time::sleep(BODY).await;
                tokio::spawn(async move { n }).await.unwrap()
            })
        })
    }

    let ((_server, caches), lag) = (caches(), Lag::watch());
    let rows = [(1, 2, "tokio-rt-worker"), (1, 2, "api"), (1, 3, "api"), (2, 8, "tokio-rt-worker")];
    for (n, (workers, tasks, name)) in rows.into_iter().enumerate() {
        for cache in &caches {
            let n = u32::try_from(n).unwrap();
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(workers).thread_name(name).enable_all().build().unwrap();
            let begun = Instant::now();
            let tasks: Vec<_> = (0..tasks)
                .map(|_| {
                    let cache = cache.clone();
                    runtime.spawn(async move { blocking(&cache, n) })
                })
                .collect();
            for task in tasks {
                assert_eq!(runtime.block_on(task).unwrap(), n);
            }
            lag.check("blocking on workers", begun.elapsed(), most(BODY));
        }
    }
}

/// A thread of rayon that waits for a part of a body takes up other work, such as
/// a call that waits for the very same body. No caller can see that.
#[test]
fn parallel_iterators_within_parallel_iterators_go_on() {
    const PARTS: u32 = 8;

    #[memcached(key = "parallel:<n>", cache = &cache, skip(cache, asks))]
    fn parallel(cache: Cache, n: u32, asks: Option<Sender<u32>>) -> u32 {
        (0..PARTS).into_par_iter().with_max_len(1).for_each(|part| {
            if let Some(asks) = asks.clone() {
                let cache = cache.clone();
                rayon::spawn(move || asks.send(parallel(cache, n, None)).unwrap());
            }
            std::thread::sleep(4 * part % 16 * MS);
        });
        n
    }

    let ((_server, caches), lag) = (caches(), Lag::watch());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    for cache in &caches {
        let longest = (0..PARTS).map(|part| 4 * part % 16 * MS).sum();
        assert_eq!(pool.install(|| parallel(cache.clone(), 1_000, None)), 1_000);
        for n in 0..15 {
            let (begun, (asks, answers)) = (Instant::now(), channel());
            assert_eq!(pool.install(|| parallel(cache.clone(), n, Some(asks))), n);
            assert_eq!(answers.iter().collect::<Vec<_>>(), vec![n; PARTS as usize]);
            // The first to overtake may get stuck as well: the next begins after
            // twice the time.
            lag.check("nested iterators", begun.elapsed(), 2 * most(longest));
        }
    }
}

macro_rules! refreshed {
    ($($site:ident($($argument:tt)*)),*) => {$(
        #[memcached(key = "near:<n>", $($argument)*, cache = cache, skip(cache, body))]
        fn $site(cache: &Cache, n: u32, body: Duration) -> u32 {
            std::thread::sleep(body);
            n
        }
    )*};
}

/// Eight threads ask for a value that is at hand and due. One of them refreshes it.
fn ask_for_due(due: impl Fn(&Cache, u32, Duration) -> u32 + Sync, cache: &Cache, n: u32) {
    let lag = Lag::watch();
    std::thread::scope(|scope| {
        let call = || {
            let begun = Instant::now();
            assert_eq!(due(cache, n, 1_500 * MS), n);
            begun.elapsed()
        };
        let callers: Vec<_> = (0..8).map(|_| scope.spawn(call)).collect();
        let mut took: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
        took.sort();
        lag.check("a value at hand", took[6], 2 * TIMEOUT);
    });
}

#[test]
fn callers_of_a_near_value_do_not_wait_for_its_refresh() {
    refreshed!(stale(ttl = 1, grace = 60, near = "1s"), early(ttl = 3_600, refresh_ahead = "3599s", near = "1s"));
    let (_server, caches) = caches();
    std::thread::scope(|scope| {
        for cache in &caches {
            scope.spawn(|| {
                assert_eq!((stale(cache, 1, Duration::ZERO), early(cache, 2, Duration::ZERO)), (1, 2));
                // Until the near copies have ended and the values are due.
                std::thread::sleep(2_100 * MS);
                ask_for_due(stale, cache, 1);
                ask_for_due(early, cache, 2);
            });
        }
    });
}

/// The time in which no runtime drives a body is not counted as computing.
#[test]
fn bodies_that_stood_still_do_not_make_callers_more_patient() {
    #[memcached(key = "still:<n>", cache = &cache, skip(cache, body))]
    async fn still(cache: Cache, n: u32, body: Option<Duration>) -> u32 {
        match body {
            Some(body) => tokio::time::sleep(body).await,
            None => std::future::pending().await,
        }
        n
    }

    let (cache, lag) = (Cache::embedded(), Lag::watch());
    runtime(2).block_on(async {
        for n in 0..10 {
            let Some(kept) = polled_for(2 * MS, still(cache.clone(), n, Some(10 * MS))).await else { continue };
            tokio::time::sleep(200 * MS).await;
            assert_eq!(kept.await, n);
        }
        let endless = tokio::spawn(still(cache.clone(), 99, None));
        tokio::time::sleep(5 * MS).await;
        let (value, took) = timed(still(cache.clone(), 99, Some(10 * MS))).await;
        assert_eq!(value, 99);
        lag.check("after bodies that stood still", took, most(10 * MS));
        endless.abort();
    });
}

/// Whether the work is done sooner than a caller waits for another that has not computed
/// before.
fn is_soon<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> bool {
    let (done, is_done) = channel();
    std::thread::spawn(move || done.send(work()));
    is_done.recv_timeout(Duration::from_secs(4)).is_ok()
}

#[test]
fn what_decides_about_a_value_may_ask_for_it() {
    #[memcached(key = "decided:page:<id>", store_if = |id| !is_draft(*id))]
    fn page(id: u64) -> u64 {
        id
    }
    #[memcached(key = "decided:draft:<id>")]
    fn is_draft(id: u64) -> bool {
        page(id) == 0
    }
    #[memcached(key = "decided:page:of:task:<id>", ttl = |id| seconds_of_task(*id))]
    async fn page_of_task(id: u64) -> u64 {
        id
    }
    #[memcached(key = "decided:page:of:task:<id>", ttl = 60)]
    fn page_again(id: u64) -> u64 {
        id
    }
    #[memcached(key = "decided:seconds:of:task:<id>")]
    fn seconds_of_task(id: u64) -> u64 {
        60 + page_again(id)
    }
    #[memcached(key = "decided:pages:<id>", each(id in ids), at_most = 1, store_if = |id| !is_among_drafts(*id))]
    fn pages(ids: &[u64]) -> Vec<u64> {
        ids.to_vec()
    }
    #[memcached(key = "decided:drafts:<id>")]
    fn is_among_drafts(id: u64) -> bool {
        pages(&[id]) == [0]
    }
    #[memcached(key = "decided:pages:of:task:<id>", each(id in ids), store_if = |id| !is_draft_of_task(*id))]
    async fn pages_of_task(ids: &[u64]) -> Vec<u64> {
        ids.to_vec()
    }
    #[memcached(key = "decided:pages:of:task:<id>")]
    fn one_of_pages(id: u64) -> u64 {
        id
    }
    #[memcached(key = "decided:drafts:of:task:<id>")]
    fn is_draft_of_task(id: u64) -> bool {
        one_of_pages(id) == 0
    }
    assert!(is_soon(|| page(1)), "a call");
    assert!(is_soon(|| runtime(1).block_on(page_of_task(1))), "a task");
    assert!(is_soon(|| pages(&[1, 2])), "a batch");
    assert!(is_soon(|| runtime(1).block_on(pages_of_task(&[1, 2]))), "a batch of a task");
}
