//! `patience`: a caller that finds an old value waits for the new one, but not for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use memocached::{Cache, CallOutcome, memcached, observed_async};
use tokio::sync::Semaphore;

use crate::support::memcached::Memcached;

/// What each body returns, once it may.
struct Database {
    asked: AtomicUsize,
    answers: Semaphore,
}

impl Database {
    fn new() -> Arc<Self> {
        Arc::new(Database { asked: AtomicUsize::new(0), answers: Semaphore::new(1) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    /// Answers with how often it was asked.
    async fn ask(&self) -> usize {
        let asked = 1 + self.asked.fetch_add(1, Ordering::Relaxed);
        self.answers.acquire().await.unwrap().forget();
        asked
    }
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

#[memcached(
    key = "patience:<n>", grace = 60, patience = patience, cache = &cache, skip(cache, patience, database),
    entry = row_entry
)]
async fn row(cache: Cache, n: u64, patience: Duration, database: Arc<Database>) -> Result<usize, usize> {
    let asked = database.ask().await;
    if asked == 13 { Err(asked) } else { Ok(asked) }
}

/// A value that was invalidated.
async fn old(cache: &Cache, n: u64, database: &Arc<Database>) {
    assert_eq!(row(cache.clone(), n, LONG, Arc::clone(database)).await, Ok(1));
    assert!(row_entry(cache.clone(), n).invalidate().await.unwrap());
}

#[tokio::test]
async fn a_new_value_that_comes_in_time_is_returned() {
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        let database = Database::new();
        old(&cache, 1, &database).await;
        database.answers.add_permits(1);
        let (value, seen) = observed_async(row(cache.clone(), 1, LONG, Arc::clone(&database))).await;
        assert_eq!(value, Ok(2));
        assert!(matches!(seen.call().unwrap().outcome, CallOutcome::Miss(_)), "{seen:?}");
        assert_eq!(row(cache, 1, LONG, database).await, Ok(2));
    }
}

#[tokio::test]
async fn an_old_value_is_returned_in_time_and_computed_anew_in_the_background() {
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        let database = Database::new();
        old(&cache, 2, &database).await;
        let begun = Instant::now();
        let (value, seen) = observed_async(row(cache.clone(), 2, SHORT, Arc::clone(&database))).await;
        assert_eq!((value, database.asked()), (Ok(1), 2));
        assert!(begun.elapsed() >= SHORT);
        assert_eq!(seen.call().unwrap().outcome, CallOutcome::Stale);
        // Others are served at once, however patient they are.
        assert_eq!(row(cache.clone(), 2, LONG, Arc::clone(&database)).await, Ok(1));
        database.answers.add_permits(1);
        while row(cache.clone(), 2, LONG, Arc::clone(&database)).await != Ok(2) {
            tokio::task::yield_now().await;
        }
        assert_eq!(database.asked(), 2);
    }
}

#[tokio::test]
async fn an_old_value_takes_the_place_of_an_error_that_comes_in_time() {
    let (cache, database) = (Cache::embedded(), Database::new());
    old(&cache, 3, &database).await;
    database.asked.store(12, Ordering::Relaxed);
    database.answers.add_permits(1);
    assert_eq!(row(cache.clone(), 3, LONG, Arc::clone(&database)).await, Ok(1));
    assert_eq!(database.asked(), 13);
}

#[tokio::test]
async fn what_a_cancelled_caller_waits_for_goes_on() {
    let (cache, database) = (Cache::embedded(), Database::new());
    old(&cache, 4, &database).await;
    let call = row(cache.clone(), 4, LONG, Arc::clone(&database));
    assert!(tokio::time::timeout(SHORT, call).await.is_err());
    assert_eq!(database.asked(), 2);
    database.answers.add_permits(1);
    while row(cache.clone(), 4, LONG, Arc::clone(&database)).await != Ok(2) {
        tokio::task::yield_now().await;
    }
    assert_eq!(database.asked(), 2);
}
