//! Values are shared between calls, handles and processes.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memocached::{Cache, memcached};

use crate::support::memcached::{Memcached, until};
use crate::support::process::{again, output, role};

static COMPUTED: AtomicU32 = AtomicU32::new(0);

/// On the process-wide cache.
#[memcached(key = "sharing:square:<n>", ttl = 60)]
fn square(n: u64) -> u64 {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
    n * n
}

#[test]
fn a_value_computed_by_one_process_is_a_hit_in_another() {
    if role().is_some() {
        println!("{} after {} computations", square(12), COMPUTED.load(Ordering::Relaxed));
        return;
    }
    let server = Memcached::start();
    let child = || {
        let test = "behaviour::sharing::a_value_computed_by_one_process_is_a_hit_in_another";
        output(again(test, "child").env("MEMCACHED_SERVERS", server.address()).env("MEMCACHED_NAMESPACE", "shop"))
    };
    assert!(child().contains("144 after 1 computations"));
    assert!(child().contains("144 after 0 computations"));
    assert!(server.stored("shop:sharing:square:12").is_some());
}

/// On the process-wide cache, and kept in this process.
#[memcached(key = "sharing:cube:<n>", ttl = 60, near = 60)]
fn cube(n: u64) -> u64 {
    COMPUTED.fetch_add(1, Ordering::Relaxed);
    n * n * n
}

#[test]
fn functions_use_the_cache_that_was_installed_last() {
    if role().is_none() {
        let test = "behaviour::sharing::functions_use_the_cache_that_was_installed_last";
        // There is no listener: what is not installed is not asked.
        output(again(test, "child").env("MEMCACHED_SERVERS", "127.0.0.1:1"));
        return;
    }
    let caches = [Cache::embedded(), Cache::embedded(), Cache::embedded()];
    let computations = |cache: &Cache| {
        memocached::install(cache.clone());
        let before = COMPUTED.load(Ordering::Relaxed);
        let calls = || assert_eq!((square(3), cube(3), square(3), cube(3)), (9, 27, 9, 27));
        calls();
        std::thread::scope(|threads| threads.spawn(calls).join().unwrap());
        COMPUTED.load(Ordering::Relaxed) - before
    };
    assert_eq!(caches.each_ref().map(computations), [2, 2, 2]);
    // Back to what the first ones hold.
    assert_eq!(caches.each_ref().map(computations), [0, 0, 0]);
}

#[memcached(key = "sharing:short:<n>", ttl = 1, cache = cache, skip(cache, computed))]
fn short_lived(cache: &Cache, computed: &AtomicU32, n: u64) -> u32 {
    let _ = n;
    computed.fetch_add(1, Ordering::Relaxed)
}

#[test]
fn a_value_expires_on_a_real_server() {
    let server = Memcached::start();
    let (cache, computed) = (server.cache(), AtomicU32::new(0));
    assert_eq!(short_lived(&cache, &computed, 1), 0);
    assert_eq!(short_lived(&cache, &computed, 1), 0);
    until("the value to expire", || (short_lived(&cache, &computed, 1) == 1).then_some(()));
}

#[memcached(key = "sharing:ttl:<n>", ttl = Duration::from_secs(n), cache = cache, skip(cache))]
fn kept_for(cache: &Cache, n: u64) -> u64 {
    n
}

#[memcached(key = "sharing:forever:<n>", ttl = forever, cache = cache, skip(cache))]
fn kept_forever(cache: &Cache, n: u64) -> u64 {
    n
}

#[memcached(key = "sharing:text:<n>", ttl = "1h30m", cache = cache, skip(cache))]
fn kept_as_written(cache: &Cache, n: u64) -> u64 {
    n
}

#[test]
fn the_server_gets_the_ttl_in_each_of_its_forms() {
    let server = Memcached::start();
    let cache = server.cache();
    let ttl = |key: &str| server.command(&format!("mg {key} t"))[4..].parse::<i64>().unwrap();
    // Up to a tenth less, so that values stored together do not end together.
    kept_for(&cache, 60);
    assert!((52..=60).contains(&ttl("sharing:ttl:60")));
    // Sixty days, which memcached would take for a moment in 1970.
    kept_for(&cache, 5_184_000);
    assert!((4_665_590..=5_184_000).contains(&ttl("sharing:ttl:5184000")));
    kept_for(&cache, 0);
    assert_eq!(server.stored("sharing:ttl:0"), None);
    kept_forever(&cache, 1);
    assert_eq!(ttl("sharing:forever:1"), -1);
    kept_as_written(&cache, 1);
    assert!((4_858..=5_400).contains(&ttl("sharing:text:1")));
}

#[memcached(key = "sharing:deleted:<n>", ttl = 60, cache = cache, skip(cache, during), entry = deleted_entry)]
fn deleted(cache: &Cache, n: u64, during: impl FnOnce()) -> u64 {
    during();
    n
}

#[test]
fn a_value_computed_before_a_delete_is_not_stored_after_it() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let entry = || deleted_entry(&cache, 7);
        assert_eq!(deleted(&cache, 7, || assert!(entry().delete().unwrap())), 7);
        assert_eq!(entry().get().unwrap(), None);
        assert_eq!(deleted(&cache, 7, || {}), 7);
        assert_eq!(entry().get().unwrap(), Some(7));
    }
}

#[test]
fn an_entry_stores_and_deletes_without_calling() {
    let server = Memcached::start();
    let cache = server.cache();
    let entry = deleted_entry(&cache, 1);
    assert_eq!(entry.key(), "sharing:deleted:1");
    entry.put(&99).unwrap();
    assert_eq!(deleted(&cache, 1, || panic!("a hit computes nothing")), 99);
    assert!(entry.delete().unwrap());
    assert!(!entry.delete().unwrap());
}

#[test]
fn a_panic_gives_the_lease_back() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let call = || deleted(&cache, 3, || panic!("on purpose"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
        assert_eq!(deleted(&cache, 3, || {}), 3);
        assert_eq!(deleted_entry(&cache, 3).get().unwrap(), Some(3));
    }
}

#[test]
fn while_one_call_computes_another_computes_and_leaves_storing_to_it() {
    let server = Memcached::start();
    let cache = server.cache();
    let outer = deleted(&cache, 5, || {
        assert_eq!(deleted(&cache, 5, || {}), 5);
        assert_eq!(deleted_entry(&cache, 5).get().unwrap(), None);
    });
    assert_eq!(outer, 5);
    assert_eq!(deleted_entry(&cache, 5).get().unwrap(), Some(5));
    assert_eq!(server.stat("cmd_set"), 1);
}
