//! After a cold start every caller misses at once. A database that falls behind answers
//! callers that have given up, and so never those that ask again: with `at_most` it does
//! not fall behind.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use memocached::{Cache, memcached};
use tokio::time::Instant;

const KEYS: usize = 10_000;
/// One at a time.
const SERVICE: Duration = Duration::from_micros(100);
/// A caller waits no longer than this; the database answers the question all the same.
const TIMEOUT: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct TimedOut;

/// A database with a queue.
struct Database {
    /// When it has answered all that it was asked.
    busy_until: Mutex<Instant>,
    asked: AtomicUsize,
    answered: AtomicUsize,
}

impl Database {
    fn new() -> Arc<Self> {
        let busy_until = Mutex::new(Instant::now());
        Arc::new(Database { busy_until, asked: AtomicUsize::new(0), answered: AtomicUsize::new(0) })
    }

    async fn ask(&self) -> Result<(), TimedOut> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let answer = {
            let mut busy_until = self.busy_until.lock().unwrap();
            *busy_until = (*busy_until).max(now) + SERVICE;
            *busy_until
        };
        if answer > now + TIMEOUT {
            tokio::time::sleep(TIMEOUT).await;
            return Err(TimedOut);
        }
        tokio::time::sleep_until(answer).await;
        self.answered.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

#[memcached(key = "cold:<n>", at_most = 16, cache = &cache, skip(cache, database))]
async fn limited(cache: Cache, n: usize, database: Arc<Database>) -> Result<usize, TimedOut> {
    database.ask().await.map(|()| n)
}

#[memcached(key = "cold:any:<n>", cache = &cache, skip(cache, database))]
async fn unlimited(cache: Cache, n: usize, database: Arc<Database>) -> Result<usize, TimedOut> {
    database.ask().await.map(|()| n)
}

/// Asks for all keys at once, and again for those that have failed, for so long. Returns
/// how many values there are, how often the database was asked, and the time.
async fn start<F, C>(call: C, limit: Duration) -> (usize, usize, Duration)
where
    C: Fn(Cache, usize, Arc<Database>) -> F + Copy + Send + 'static,
    F: Future<Output = Result<usize, TimedOut>> + Send + 'static,
{
    let (cache, database, begun) = (Cache::embedded(), Database::new(), Instant::now());
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..KEYS {
        let (cache, database) = (cache.clone(), Arc::clone(&database));
        callers.spawn(async move {
            loop {
                if let Ok(value) = call(cache.clone(), n, Arc::clone(&database)).await {
                    return value == n;
                }
            }
        });
    }
    let mut values = 0;
    let all = async {
        while let Some(done) = callers.join_next().await {
            values += usize::from(done.unwrap());
        }
    };
    let _ = tokio::time::timeout(limit, all).await;
    (values, database.asked.load(Ordering::Relaxed), begun.elapsed())
}

/// The time of this test is the runtime's, which passes when there is nothing to do.
#[tokio::test(start_paused = true)]
async fn a_service_with_a_limit_recovers_from_a_cold_start_in_the_time_that_the_database_needs() {
    let needed = SERVICE * u32::try_from(KEYS).unwrap();
    let (values, asked, took) = start(limited, 10 * needed).await;
    println!("with at_most: {values} values, asked {asked} times, after {took:?}");
    assert_eq!(values, KEYS);
    // None has timed out.
    assert_eq!(asked, KEYS);
    // Timers count milliseconds, and sixteen answers take less than two.
    assert!(took < 3 * needed, "{took:?}");

    let (values, asked, took) = start(unlimited, needed).await;
    println!("without: {values} values, asked {asked} times, after {took:?}");
    assert!(values <= KEYS / 5, "{values} values");
    assert!(asked > 5 * KEYS, "asked {asked} times");
}
