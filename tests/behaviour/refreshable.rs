//! Every kind of function may be refreshed: whether that happens in the
//! background or in place, it compiles, and what it gives is shared.

use std::borrow::Cow;
use std::cell::Cell;
use std::error::Error;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use memocached::{Cache, memcached};
use serde::{Deserialize, Serialize};

/// Counts computations, for tasks that may move.
type Count = Arc<AtomicU32>;

fn next(count: &AtomicU32) -> u32 {
    count.fetch_add(1, Ordering::Relaxed) + 1
}

const HOUR: Duration = Duration::from_secs(3_600);

#[memcached(key = "refreshable:owned:<n>", grace = "1h", cache = &cache, skip(cache, count), entry = owned_entry)]
async fn owned(cache: Cache, count: Count, n: String) -> u32 {
    tokio::task::yield_now().await;
    let _ = n;
    next(&count)
}

#[memcached(key = "refreshable:borrowed:<n>", grace = HOUR, refresh_ahead = auto, cache = cache, skip(cache, count))]
async fn borrowed(cache: &Cache, count: &Cell<u32>, n: &str) -> u32 {
    let _ = n;
    count.set(count.get() + 1);
    count.get()
}

#[memcached(key = "refreshable:patterns:<a>:<_b>", refresh_ahead = 9, cache = &cache, skip(cache, count))]
async fn patterns((a, _b): (u8, &'static str), mut count: Count, cache: Cache) -> Result<u32, Box<dyn Error + Send>> {
    count = Arc::clone(&count);
    Ok(next(&count) + u32::from(a))
}

/// The future holds an `Rc` while it waits, and says nothing of `Send`.
#[memcached(key = "refreshable:local:<n>", grace = 60, cache = &cache, skip(cache, count))]
fn local(cache: Cache, count: Count, n: u8) -> impl Future<Output = Option<u32>> {
    let own = Rc::new(n);
    async move {
        tokio::task::yield_now().await;
        Some(next(&count) + u32::from(*own))
    }
}

#[memcached(key = "refreshable:sent:<n>", grace = 60, cache = &cache, skip(cache, count))]
fn sent(cache: Cache, count: Count, n: u8) -> impl Future<Output = Option<u32>> + Send {
    async move {
        tokio::task::yield_now().await;
        Some(next(&count) + u32::from(n))
    }
}

#[memcached(key = "refreshable:boxed:<n>", grace = 60, cache = &cache, skip(cache, count))]
fn boxed(cache: Cache, count: Count, n: u8) -> Pin<Box<dyn Future<Output = u32> + Send>> {
    Box::pin(async move { next(&count) + u32::from(n) })
}

#[memcached(key = "refreshable:generic:<n>", grace = 60, cache = &cache, skip(cache, count))]
async fn generic<T: memocached::KeyPart + Into<u32>>(cache: Cache, count: Count, n: T) -> u32 {
    next(&count) + n.into()
}

#[memcached(key = "refreshable:unnamed:<n>", grace = 60, cache = &cache, skip(cache, step))]
async fn unnamed(cache: Cache, step: impl Fn() -> u32 + Send + 'static, n: u8) -> u32 {
    step() + u32::from(n)
}

#[memcached(key = "refreshable:vetoed:<n>", grace = 60, store_if = |v| *v != n, cache = &cache, skip(cache, count))]
async fn vetoed(cache: Cache, count: Count, n: u32) -> u32 {
    next(&count)
}

#[memcached(key = "refreshable:recursive:<n>", grace = 60, cache = &cache, skip(cache, count))]
async fn recursive(cache: Cache, count: Count, n: u32) -> u32 {
    match n {
        0 => next(&count),
        _ => Box::pin(recursive(cache.clone(), count, n - 1)).await,
    }
}

#[memcached(
    key = "refreshable:blocking:<n>",
    ttl = grace / 2,
    grace = grace,
    refresh_ahead = grace / 4,
    near = grace / 60,
    single_flight = local,
    cache = cache,
    skip(cache, count, grace),
    entry = blocking_entry
)]
fn blocking(cache: &Cache, count: &Cell<u32>, n: u8, grace: Duration) -> u32 {
    count.set(count.get() + 1);
    count.get() + u32::from(n)
}

/// What a lifetime around the function borrows is not in its arguments.
struct Names<'a, T>(&'a str, PhantomData<T>);

impl<'a, T> Names<'a, T> {
    #[memcached(key = "refreshable:associated:<n>", grace = 60, cache = &cache, skip(cache, count))]
    async fn associated(cache: Cache, count: Count, n: Cow<'static, str>) -> u32 {
        let named: Names<'a, T> = Names("", PhantomData);
        next(&count) + u32::try_from(named.0.len() + n.len()).unwrap()
    }

    #[memcached(key = "refreshable:method:<self.0>", grace = 60, cache = cache, skip(cache, count))]
    async fn method(&self, cache: &Cache, count: Count) -> u32 {
        next(&count)
    }
}

#[async_trait]
trait Asked {
    async fn asked(self: Arc<Self>, count: Count) -> u32;
    async fn of_all(cache: Cache, count: Count) -> u32;
}

struct Shop(Cache);

#[async_trait]
impl Asked for Shop {
    #[memcached(key = "refreshable:asked", grace = 60, cache = &self.0, skip(self, count))]
    async fn asked(self: Arc<Self>, count: Count) -> u32 {
        next(&count)
    }

    #[memcached(key = "refreshable:of_all", grace = 60, cache = &cache, skip(cache, count))]
    async fn of_all(cache: Cache, count: Count) -> u32 {
        let _ = cache;
        next(&count)
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Failure(u8);

#[memcached(
    key = "refreshable:negative:<n>",
    cache_none = 10,
    cache_err = HOUR / 60,
    single_flight = off,
    codec = json,
    cache = &cache,
    skip(cache, count)
)]
async fn negative(cache: Cache, count: Count, n: u8) -> Result<Option<u8>, Failure> {
    next(&count);
    match n {
        0 => Err(Failure(n)),
        n => Ok((n > 1).then_some(n)),
    }
}

#[tokio::test]
async fn functions_that_own_their_data_compute_once() {
    let (cache, count) = (Cache::embedded(), Count::default());
    let both = || (cache.clone(), Arc::clone(&count));
    for _ in 0..2 {
        let (cache, count) = both();
        assert_eq!(owned(cache, count, "a".into()).await, 1);
    }
    assert_eq!(owned_entry(cache.clone(), "a".into()).get().await.unwrap(), Some(1));
    for _ in 0..2 {
        let (cache, count) = both();
        assert_eq!(patterns((1, "b"), count, cache).await.unwrap(), 3);
    }
    for _ in 0..2 {
        let (cache, count) = both();
        assert_eq!(sent(cache, count, 1).await, Some(4));
    }
    for _ in 0..2 {
        let (cache, count) = both();
        assert_eq!(boxed(cache, count, 1).await, 5);
    }
    for _ in 0..2 {
        let (cache, count) = both();
        assert_eq!(unnamed(cache, move || next(&count), 1).await, 6);
    }
    for _ in 0..2 {
        let (cache, count) = both();
        assert_eq!(Names::<u8>::associated(cache, count, "c".into()).await, 7);
    }
}

#[tokio::test]
async fn functions_that_borrow_or_stay_on_their_thread_compute_once() {
    let (cache, count) = (Cache::embedded(), Count::default());
    let both = || (cache.clone(), Arc::clone(&count));
    let calls = Cell::new(0);
    for _ in 0..2 {
        assert_eq!(borrowed(&cache, &calls, "a").await, 1);
    }
    for _ in 0..2 {
        let (cache, count) = both();
        assert_eq!(local(cache, count, 1).await, Some(2));
    }
    for _ in 0..2 {
        let (cache, count) = both();
        assert_eq!(generic(cache, count, 1u8).await, 3);
    }
    for _ in 0..2 {
        assert_eq!(Names("d", PhantomData::<u8>).method(&cache, Arc::clone(&count)).await, 3);
    }
    let shop = Arc::new(Shop(cache.clone()));
    for _ in 0..2 {
        assert_eq!(Arc::clone(&shop).asked(Arc::clone(&count)).await, 4);
        assert_eq!(Shop::of_all(cache.clone(), Arc::clone(&count)).await, 5);
    }
    for _ in 0..2 {
        let (cache, count) = both();
        assert_eq!(recursive(cache, count, 3).await, 6);
    }
    for expected in [7, 8, 8] {
        let (cache, count) = both();
        assert_eq!(vetoed(cache, count, 7).await, expected);
    }
}

#[test]
fn durations_may_be_read_from_arguments() {
    let (cache, calls) = (Cache::embedded(), Cell::new(0));
    for _ in 0..2 {
        assert_eq!(blocking(&cache, &calls, 1, HOUR), 2);
    }
    assert_eq!(blocking_entry(&cache, 1, HOUR).get().unwrap(), Some(2));
}

#[tokio::test]
async fn absences_and_errors_come_back_as_they_were() {
    let (cache, count) = (Cache::embedded(), Count::default());
    for _ in 0..2 {
        for (n, expected) in [(0, Err(Failure(0))), (1, Ok(None)), (2, Ok(Some(2)))] {
            assert_eq!(negative(cache.clone(), Arc::clone(&count), n).await, expected);
        }
    }
    assert_eq!(count.load(Ordering::Relaxed), 3, "the second time, all were hits");
}
