//! Refreshes in the background are bounded, and given up where they panic. All of a
//! process count, so each test has one of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memocached::{Cache, memcached};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::RwLock;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::memcached::until;
use crate::support::process::alone;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

static ASKED: AtomicU64 = AtomicU64::new(0);

/// A writer to the database keeps the readers waiting.
#[memcached(key = "background:<n>", grace = 60, cache = &cache, skip(cache, database), entry = row_entry)]
async fn row(cache: Cache, n: u64, database: Arc<RwLock<u64>>) -> u64 {
    ASKED.fetch_add(1, Ordering::Relaxed);
    *database.read().await + n
}

#[test]
fn so_many_refreshes_run_at_once_and_other_callers_get_their_old_values() {
    alone(module_path!(), "so_many_refreshes_run_at_once_and_other_callers_get_their_old_values", || {
        let (runtime, cache) = (runtime(), Cache::builder().refreshes(4).build().unwrap());
        let database = Arc::new(RwLock::new(1_000));
        let call = |n| runtime.block_on(row(cache.clone(), n, Arc::clone(&database)));
        for n in 0..50 {
            assert_eq!(call(n), 1_000 + n);
            assert!(runtime.block_on(row_entry(cache.clone(), n).invalidate()).unwrap());
        }
        ASKED.store(0, Ordering::Relaxed);
        let mut writing = runtime.block_on(database.write());
        *writing = 2_000;
        for n in 0..50 {
            assert_eq!(call(n), 1_000 + n);
        }
        until("refreshes", || (ASKED.load(Ordering::Relaxed) == 4).then_some(()));
        drop(writing);
        let refreshed = || (0..50).filter(|n| call(*n) == 2_000 + n).count();
        until("all to be refreshed", || (refreshed() == 50).then_some(()));
        assert_eq!(ASKED.load(Ordering::Relaxed), 50);
    });
}

#[memcached(key = "background:all:<n>", each(n in all), grace = 60, cache = &cache, skip(cache, database), entry = rows_entry)]
async fn rows(cache: Cache, all: Vec<u64>, database: Arc<RwLock<u64>>) -> Vec<u64> {
    ASKED.fetch_add(1, Ordering::Relaxed);
    let version = *database.read().await;
    all.into_iter().map(|n| version + n).collect()
}

#[test]
fn a_batch_is_one_refresh() {
    alone(module_path!(), "a_batch_is_one_refresh", || {
        let (runtime, cache) = (runtime(), Cache::builder().refreshes(1).build().unwrap());
        let database = Arc::new(RwLock::new(1_000));
        let call = |all: [u64; 2]| runtime.block_on(rows(cache.clone(), all.into(), Arc::clone(&database)));
        for all in [[1, 2], [3, 4]] {
            assert_eq!(call(all), all.map(|n| 1_000 + n));
            for n in all {
                assert!(runtime.block_on(rows_entry(cache.clone(), &n).invalidate()).unwrap());
            }
        }
        ASKED.store(0, Ordering::Relaxed);
        let mut writing = runtime.block_on(database.write());
        *writing = 2_000;
        assert_eq!([call([1, 2]), call([3, 4])].concat(), [1_001, 1_002, 1_003, 1_004]);
        until("a refresh", || (ASKED.load(Ordering::Relaxed) == 1).then_some(()));
        drop(writing);
        let refreshed = |all: [u64; 2]| call(all) == all.map(|n| 2_000 + n);
        until("all to be refreshed", || (refreshed([1, 2]) & refreshed([3, 4])).then_some(()));
        assert_eq!(ASKED.load(Ordering::Relaxed), 2);
    });
}

tokio::task_local! {
    static TENANT: u64;
}

/// A body that only its caller's task can run.
#[memcached(key = "background:tenant:<n>", grace = 60, cache = &cache, skip(cache), entry = of_tenant_entry)]
async fn of_tenant(cache: Cache, n: u64) -> u64 {
    ASKED.fetch_add(1, Ordering::Relaxed);
    TENANT.get() + n
}

#[memcached(key = "background:tenants:<n>", each(n in all), grace = 60, cache = &cache, skip(cache), entry = of_tenants_entry)]
async fn of_tenants(cache: Cache, all: Vec<u64>) -> Vec<u64> {
    ASKED.fetch_add(1, Ordering::Relaxed);
    all.into_iter().map(|n| TENANT.get() + n).collect()
}

#[test]
fn a_batch_that_panics_in_the_background_is_refreshed_by_its_callers() {
    alone(module_path!(), "a_batch_that_panics_in_the_background_is_refreshed_by_its_callers", || {
        let (runtime, cache) = (runtime(), Cache::builder().build().unwrap());
        let call = |tenant| runtime.block_on(TENANT.scope(tenant, of_tenants(cache.clone(), vec![1, 2])));
        assert_eq!(call(10), [11, 12]);
        for panics in 1..=2 {
            for n in [1, 2] {
                let _ = runtime.block_on(of_tenants_entry(cache.clone(), &n).invalidate()).unwrap();
            }
            assert_eq!(call(20), [11, 12], "the old values");
            until("a refresh", || (ASKED.load(Ordering::Relaxed) == 1 + panics).then_some(()));
        }
        until("new values", || {
            for n in [1, 2] {
                let _ = runtime.block_on(of_tenants_entry(cache.clone(), &n).invalidate()).unwrap();
            }
            (call(20) == [21, 22]).then_some(())
        });
    });
}

/// Values that only their caller's task can judge.
#[memcached(
    key = "background:judged:<n>",
    each(n in all),
    grace = 60,
    store_if = |_| TENANT.get() > 0,
    cache = &cache,
    skip(cache),
    entry = judged_entry
)]
async fn judged(cache: Cache, all: Vec<u64>) -> Vec<u64> {
    ASKED.fetch_add(1, Ordering::Relaxed);
    let tenant = TENANT.try_with(|tenant| *tenant).unwrap_or_default();
    all.into_iter().map(|n| tenant + n).collect()
}

#[test]
fn a_batch_whose_values_panic_in_the_background_is_refreshed_by_its_callers() {
    alone(module_path!(), "a_batch_whose_values_panic_in_the_background_is_refreshed_by_its_callers", || {
        let warnings = Arc::<AtomicU64>::default();
        let subscriber = tracing_subscriber::registry().with(Warnings(Arc::clone(&warnings)));
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let (runtime, cache) = (runtime(), Cache::builder().build().unwrap());
        let call = |tenant| runtime.block_on(TENANT.scope(tenant, judged(cache.clone(), vec![1, 2])));
        assert_eq!(call(10), [11, 12]);
        for panics in 1..=2 {
            for n in [1, 2] {
                let _ = runtime.block_on(judged_entry(cache.clone(), &n).invalidate()).unwrap();
            }
            assert_eq!(call(20), [11, 12], "the old values");
            until("a refresh", || (ASKED.load(Ordering::Relaxed) == 1 + panics).then_some(()));
            until("its end", || (warnings.load(Ordering::Relaxed) == panics / 2).then_some(()));
        }
        until("new values", || (call(20) == [21, 22]).then_some(()));
    });
}

/// Counts the warnings about functions that panic in the background.
struct Warnings(Arc<AtomicU64>);

impl<S: Subscriber> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = String::new();
        let mut read = |_: &tracing::field::Field, value: &dyn std::fmt::Debug| text += &format!("{value:?}");
        event.record(&mut read as &mut dyn tracing::field::Visit);
        self.0.fetch_add(u64::from(text.contains("panicked twice in the background")), Ordering::Relaxed);
    }
}

/// Panics when it is told of something while its thread is panicking.
struct Panicking;

impl<S: Subscriber> Layer<S> for Panicking {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        assert!(!std::thread::panicking(), "on purpose");
    }
}

#[test]
fn a_layer_that_panics_with_a_refresh_does_not_end_the_process() {
    alone(module_path!(), "a_layer_that_panics_with_a_refresh_does_not_end_the_process", || {
        tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Panicking)).unwrap();
        let (runtime, cache) = (runtime(), Cache::builder().build().unwrap());
        let call = |tenant| runtime.block_on(TENANT.scope(tenant, of_tenant(cache.clone(), 1)));
        assert_eq!(call(10), 11);
        until("a new value", || {
            assert!(runtime.block_on(of_tenant_entry(cache.clone(), 1).invalidate()).unwrap());
            (call(20) == 21).then_some(())
        });
    });
}

#[test]
fn a_function_that_panics_in_the_background_is_refreshed_by_its_callers() {
    alone(module_path!(), "a_function_that_panics_in_the_background_is_refreshed_by_its_callers", || {
        let warnings = Arc::<AtomicU64>::default();
        let subscriber = tracing_subscriber::registry().with(Warnings(Arc::clone(&warnings)));
        tracing::subscriber::set_global_default(subscriber).unwrap();
        let (runtime, cache) = (runtime(), Cache::builder().build().unwrap());
        let call = |tenant| runtime.block_on(TENANT.scope(tenant, of_tenant(cache.clone(), 1)));
        assert_eq!(call(10), 11);
        for panics in 1..=2 {
            assert!(runtime.block_on(of_tenant_entry(cache.clone(), 1).invalidate()).unwrap());
            assert_eq!(call(20), 11, "the old value");
            until("a refresh", || (ASKED.load(Ordering::Relaxed) == 1 + panics).then_some(()));
            until("its end", || (warnings.load(Ordering::Relaxed) == panics / 2).then_some(()));
        }
        until("a new value", || (call(20) == 21).then_some(()));
        // The caller's panic is the caller's, as it would be without the attribute.
        assert!(runtime.block_on(of_tenant_entry(cache.clone(), 1).invalidate()).unwrap());
        assert!(catch_unwind(AssertUnwindSafe(|| runtime.block_on(of_tenant(cache.clone(), 1)))).is_err());
        assert_eq!(call(30), 31);
        assert_eq!(warnings.load(Ordering::Relaxed), 1);
    });
}
