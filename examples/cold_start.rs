//! Ten thousand keys are missing at once, before a database that falls behind: with
//! `at_most` the service recovers, without it does not.
//!
//! ```text
//! cargo run --release --example cold_start
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use memocached::{Cache, memcached};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

const KEYS: usize = 10_000;
/// The database answers one question after the other.
const SERVICE: Duration = Duration::from_micros(500);
/// A caller waits no longer than this, and asks again; the database answers all the same.
const TIMEOUT: Duration = Duration::from_millis(100);
/// How long the service has to recover.
const LIMIT: Duration = Duration::from_secs(10);

struct Database {
    /// When it has answered all that it was asked.
    busy_until: Mutex<Instant>,
    asked: AtomicUsize,
}

impl Database {
    /// Finds a row, if it does so in time.
    async fn find(&self, id: usize) -> Option<usize> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        let answer = {
            let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
            *busy_until = now.max(*busy_until) + SERVICE;
            *busy_until
        };
        if answer > now + TIMEOUT {
            sleep(TIMEOUT).await;
            return None;
        }
        sleep_until(answer).await;
        Some(id)
    }
}

#[memcached(key = "any:<id>", cache = &cache, skip(cache, database))]
async fn any_number(cache: Cache, id: usize, database: Arc<Database>) -> Option<usize> {
    database.find(id).await
}

#[memcached(key = "limited:<id>", at_most = 16, cache = &cache, skip(cache, database))]
async fn limited(cache: Cache, id: usize, database: Arc<Database>) -> Option<usize> {
    database.find(id).await
}

/// Asks for all keys at once, and for each until it has a value.
async fn start<F>(name: &str, call: impl Fn(Cache, usize, Arc<Database>) -> F + Copy + Send + 'static)
where
    F: Future<Output = Option<usize>> + Send + 'static,
{
    let begun = Instant::now();
    let (cache, database) =
        (Cache::embedded(), Arc::new(Database { busy_until: Mutex::new(begun), asked: AtomicUsize::new(0) }));
    let mut callers = JoinSet::new();
    for id in 0..KEYS {
        let (cache, database) = (cache.clone(), Arc::clone(&database));
        callers.spawn(async move { while call(cache.clone(), id, Arc::clone(&database)).await.is_none() {} });
    }
    let mut values = 0;
    let recovers = async {
        while callers.join_next().await.is_some() {
            values += 1;
        }
    };
    let has_recovered = timeout(LIMIT, recovers).await.is_ok();
    let (asked, time) = (database.asked.load(Ordering::Relaxed), begun.elapsed());
    let end = if has_recovered { "recovered after" } else { "has not recovered after" };
    println!("{name:<22} {end} {:.1} s: {values} of {KEYS} values, {asked} questions", time.as_secs_f64());
}

#[tokio::main]
async fn main() {
    start("with `at_most = 16`", limited).await;
    start("without", any_number).await;
}
