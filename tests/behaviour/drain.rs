//! `drain` waits for what goes on in the background, and lets nothing more begin there;
//! `settled` lets more begin. Both are for a whole process, so each test has one of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use memocached::testing::{settled, settled_async};
use memocached::{Cache, drain, drain_async, invalidates, memcached};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::RwLock;

use crate::support::memcached::{Memcached, until};
use crate::support::process::alone;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(20);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

static ASKED: AtomicUsize = AtomicUsize::new(0);

fn asked() -> usize {
    ASKED.load(Ordering::Relaxed)
}

#[memcached(key = "drain:<n>", grace = 60, cache_err = 60, cache = &cache, skip(cache, database), entry = row_entry)]
async fn row(cache: Cache, n: u64, database: Arc<RwLock<u64>>) -> Result<u64, u64> {
    ASKED.fetch_add(1, Ordering::Relaxed);
    let found = *database.read().await;
    if n > 100 { Err(found) } else { Ok(found) }
}

#[test]
fn what_is_under_way_ends_first_and_callers_refresh_themselves_afterwards() {
    alone(module_path!(), "what_is_under_way_ends_first_and_callers_refresh_themselves_afterwards", || {
        let (runtime, server) = (runtime(), Memcached::start());
        let (cache, database) = (server.cache(), Arc::new(RwLock::new(1)));
        let call = |n| runtime.block_on(row(cache.clone(), n, Arc::clone(&database)));
        assert_eq!(call(1), Ok(1));
        assert!(runtime.block_on(row_entry(cache.clone(), 1).invalidate()).unwrap());
        let mut writing = runtime.block_on(database.write());
        *writing = 2;
        assert_eq!(call(1), Ok(1), "and it is refreshed in the background");
        until("a refresh", || (asked() == 2).then_some(()));
        let left = drain(SHORT);
        assert!(!left.is_complete());
        assert_eq!((left.tasks, left.invalidations), (1, 0));
        drop(writing);
        assert!(runtime.block_on(drain_async(LONG)).is_complete());
        assert_eq!((call(1), asked()), (Ok(2), 2), "the refresh has stored");

        runtime.block_on(async { *database.write().await = 3 });
        assert!(runtime.block_on(row_entry(cache.clone(), 1).invalidate()).unwrap());
        assert_eq!((call(1), asked()), (Ok(3), 3), "the caller has computed it");
        // What is no value was stored after its caller had it.
        assert_eq!((call(101), call(101), asked()), (Err(3), Err(3), 4));
        assert!(drain(Duration::ZERO).is_complete());
    });
}

#[test]
fn what_is_under_way_settles_and_more_begins_afterwards() {
    alone(module_path!(), "what_is_under_way_settles_and_more_begins_afterwards", || {
        let (runtime, cache, database) = (runtime(), Cache::embedded(), Arc::new(RwLock::new(1)));
        let call = || runtime.block_on(row(cache.clone(), 1, Arc::clone(&database)));
        assert_eq!(call(), Ok(1));
        let refreshed_while = |version: u64, settle: fn(&Runtime)| {
            assert!(runtime.block_on(row_entry(cache.clone(), 1).invalidate()).unwrap());
            let mut writing = runtime.block_on(database.write());
            *writing = version;
            assert_eq!(call(), Ok(version - 1), "and it is refreshed in the background");
            std::thread::scope(|scope| {
                let settling = scope.spawn(|| settle(&runtime));
                until("the refresh to begin", || (asked() as u64 == version).then_some(()));
                assert!(!settling.is_finished());
                drop(writing);
            });
            assert_eq!((call(), asked() as u64), (Ok(version), version), "the refresh has stored");
        };
        refreshed_while(2, |_| settled());
        refreshed_while(3, |runtime| runtime.block_on(settled_async()));
    });
}

#[invalidates(row_entry(cache.clone(), n))]
async fn change_unseen(cache: &Cache, n: u64) -> u64 {
    n
}

#[test]
fn entries_that_writers_have_left_behind_are_removed_once_all_is_settled() {
    alone(module_path!(), "entries_that_writers_have_left_behind_are_removed_once_all_is_settled", || {
        let (runtime, cache) = (runtime(), Cache::embedded());
        assert_eq!(runtime.block_on(row(cache.clone(), 1, Arc::new(RwLock::new(1)))), Ok(1));
        cache.faults().down();
        assert_eq!(runtime.block_on(change_unseen(&cache, 1)), 1);
        cache.faults().heal();
        settled();
        assert_eq!(runtime.block_on(row_entry(cache, 1).get()).unwrap(), None);
    });
}

#[invalidates(row_entry(cache.clone(), n))]
async fn change(cache: &Cache, n: u64, server: &Memcached) -> u64 {
    server.freeze();
    n
}

#[test]
fn entries_that_a_server_has_not_removed_are_waited_for() {
    alone(module_path!(), "entries_that_a_server_has_not_removed_are_waited_for", || {
        let (runtime, server) = (runtime(), Memcached::start());
        let cache = Cache::builder().servers(server.address()).timeout(Duration::from_millis(100)).build().unwrap();
        let database = Arc::new(RwLock::new(1));
        assert_eq!(runtime.block_on(row(cache.clone(), 1, database)), Ok(1));
        assert_eq!(runtime.block_on(change(&cache, 1, &server)), 1);
        assert_eq!(drain(SHORT).invalidations, 1);
        server.thaw();
        assert!(drain(LONG).is_complete());
        assert_eq!(runtime.block_on(row_entry(cache, 1).get()).unwrap(), None);
    });
}
