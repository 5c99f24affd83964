//! Every duration at its edges, on both stores: nothing panics, no lookup is
//! refused, and a value that was just stored is a hit.

use std::cell::Cell;
use std::time::Duration;

use memocached::{AsyncEntries, Cache, memcached};

use crate::support::asking::PATIENCE;
use crate::support::memcached::{Memcached, until};
use crate::support::recording::Recording;

const DAY: Duration = Duration::from_secs(86_400);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
const SECOND: Duration = Duration::from_secs(1);

const EDGES: [Duration; 10] = [
    Duration::from_nanos(1),
    Duration::from_millis(1),
    SECOND,
    Duration::from_secs(30 * 86_400 - 1),
    MONTH,
    Duration::from_secs(30 * 86_400 + 1),
    Duration::from_secs(365 * 86_400),
    Duration::from_secs(20 * 365 * 86_400),
    Duration::from_secs(u32::MAX as u64 * 4),
    Duration::MAX,
];

thread_local! {
    /// How often this thread, and so this test, has computed.
    static COMPUTED: Cell<u32> = const { Cell::new(0) };
}

fn computed(n: u32) -> u32 {
    COMPUTED.set(COMPUTED.get() + 1);
    n
}

#[memcached(key = "edge:ttl:<n>", ttl = time, cache = cache, skip(cache, time))]
fn with_ttl(cache: &Cache, n: u32, time: Duration) -> u32 {
    computed(n)
}

#[memcached(key = "edge:grace:<n>", ttl = 60, grace = time, cache = cache, skip(cache, time))]
fn with_grace(cache: &Cache, n: u32, time: Duration) -> u32 {
    computed(n)
}

#[memcached(key = "edge:both:<n>", ttl = time, grace = time, cache = cache, skip(cache, time))]
fn with_both(cache: &Cache, n: u32, time: Duration) -> u32 {
    computed(n)
}

#[memcached(key = "edge:ahead:<n>", ttl = 60, refresh_ahead = time, cache = cache, skip(cache, time))]
fn with_ahead(cache: &Cache, n: u32, time: Duration) -> u32 {
    computed(n)
}

#[memcached(key = "edge:near:<n>", ttl = 60, near = time, cache = cache, skip(cache, time))]
fn with_near(cache: &Cache, n: u32, time: Duration) -> u32 {
    computed(n)
}

#[memcached(key = "edge:none:<n>", ttl = 60, cache_none = time, cache = cache, skip(cache, time))]
fn with_none(cache: &Cache, n: u32, time: Duration) -> Option<u32> {
    computed(n);
    None
}

#[memcached(key = "edge:err:<n>", ttl = 60, cache_err = time, cache = cache, skip(cache, time))]
fn with_err(cache: &Cache, n: u32, time: Duration) -> Result<u32, u32> {
    Err(computed(n))
}

#[test]
fn a_value_stored_at_the_edge_of_any_duration_is_a_hit() {
    type Function = fn(&Cache, u32, Duration);
    let functions: [(&str, Function); 7] = [
        ("ttl", |cache, n, time| assert_eq!(with_ttl(cache, n, time), n)),
        ("grace", |cache, n, time| assert_eq!(with_grace(cache, n, time), n)),
        ("ttl and grace", |cache, n, time| assert_eq!(with_both(cache, n, time), n)),
        ("refresh_ahead", |cache, n, time| assert_eq!(with_ahead(cache, n, time), n)),
        ("near", |cache, n, time| assert_eq!(with_near(cache, n, time), n)),
        ("cache_none", |cache, n, time| assert_eq!(with_none(cache, n, time), None)),
        ("cache_err", |cache, n, time| assert_eq!(with_err(cache, n, time), Err(n))),
    ];
    let server = Memcached::start();
    for (store, builder) in [("embedded", Cache::builder()), ("server", Cache::builder().servers(server.address()))] {
        for jitter in [0, 50] {
            let cache = builder.clone().timeout(PATIENCE).jitter(jitter).build().unwrap();
            server.command("flush_all");
            for (name, function) in &functions {
                for (n, time) in (u32::from(jitter)..).zip(EDGES) {
                    let before = COMPUTED.get();
                    function(&cache, n, time);
                    // What lives for a second may end in the middle of the test.
                    if time > SECOND {
                        function(&cache, n, time);
                        let computed = COMPUTED.get() - before;
                        assert_eq!(computed, 1, "{name} = {time:?}, jitter {jitter}, {store}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_time_limit_may_be_as_long_as_one_likes() {
    let server = Memcached::start();
    for (n, limit) in (0..).zip(EDGES).filter(|(_, limit)| *limit >= SECOND) {
        let cache = Cache::builder().servers(server.address()).timeout(limit).build().unwrap();
        let before = COMPUTED.get();
        assert_eq!([(); 3].map(|()| with_near(&cache, n, MONTH)), [n; 3]);
        assert_eq!(COMPUTED.get() - before, 1, "{limit:?}");
    }
}

#[memcached(
    key = "edge:patience:<n>", ttl = 60, grace = 60, patience = time, entry = patient_entry, cache = &cache,
    skip(cache, time)
)]
async fn with_patience(cache: Cache, n: u32, time: Duration) -> u32 {
    tokio::time::sleep(Duration::from_millis(1)).await;
    n
}

#[tokio::test]
async fn a_value_that_is_invalidated_twice_is_still_served_behind_its_time() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let entry = |n| patient_entry(cache.clone(), n);
        for n in 0..2 {
            assert_eq!(with_patience(cache.clone(), n, Duration::ZERO).await, n);
        }
        for _ in 0..3 {
            assert!(entry(0).invalidate().await.unwrap());
            let entries: AsyncEntries<u32> = [entry(1)].into_iter().collect();
            assert!(entries.invalidate_many().await.remove(0).unwrap());
        }
        for n in 0..2 {
            assert!(entry(n).info().await.unwrap().is_some_and(|info| info.is_stale), "{n}");
        }
    }
}

#[tokio::test]
async fn patience_may_be_as_long_as_one_likes() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        for (n, time) in (0..).zip(EDGES) {
            assert_eq!(with_patience(cache.clone(), n, time).await, n);
            assert!(patient_entry(cache.clone(), n).invalidate().await.unwrap());
            assert_eq!(with_patience(cache.clone(), n, time).await, n, "{time:?}");
        }
    }
}

#[memcached(key = "edge:stale:<n>", ttl = 1, grace = grace, cache = cache, skip(cache, grace))]
fn soon_stale(cache: &Cache, n: u32, grace: Duration) -> u32 {
    computed(n)
}

#[test]
fn a_value_with_a_long_grace_is_refreshed_when_it_is_stale_and_not_before() {
    let server = Memcached::start();
    for (cache, is_embedded) in [(server.cache(), false), (Cache::embedded(), true)] {
        let clock = is_embedded.then(|| cache.clock());
        let graces = [DAY, MONTH - SECOND, MONTH, MONTH + SECOND, 13 * MONTH, Duration::MAX];
        let each = || (0..).zip(graces);
        let start = COMPUTED.get();
        each().for_each(|(n, grace)| assert_eq!(soon_stale(&cache, n, grace), n));
        each().for_each(|(n, grace)| assert_eq!(soon_stale(&cache, n, grace), n));
        assert_eq!(COMPUTED.get() - start, 6, "fresh");
        match clock {
            Some(clock) => clock.advance(SECOND),
            None => std::thread::sleep(2 * SECOND + SECOND / 2),
        }
        for (n, grace) in each() {
            let before = COMPUTED.get();
            assert_eq!(soon_stale(&cache, n, grace), n);
            assert_eq!(COMPUTED.get() - before, 1, "stale, grace = {grace:?}");
        }
    }
}

#[memcached(key = "edge:wide:<n>", refresh_ahead = "10s", cache = cache, skip(cache))]
fn too_wide(cache: &Cache, n: u32) -> u32 {
    computed(n)
}

#[test]
fn a_window_as_wide_as_the_default_ttl_is_told_once_and_halved() {
    let recording = Recording::begin();
    let server = Memcached::start();
    let cache = Cache::builder().servers(server.address()).ttl(10 * SECOND).timeout(PATIENCE).build().unwrap();
    for n in 0..3 {
        too_wide(&cache, n);
        too_wide(&cache, n);
    }
    assert_eq!(COMPUTED.get(), 3);
    let spans = recording.take();
    let told = spans.iter().flat_map(|span| span.events.iter()).filter(|event| event.name.contains("refresh_ahead"));
    let told: Vec<_> = told.map(|event| &*event.name).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("too_wide") && told[0].contains("10s"), "{told:?}");
}

#[memcached(key = "edge:forever:<n>", ttl = forever, near = "1m", cache = cache, skip(cache))]
fn forever(cache: &Cache, n: u32) -> u32 {
    computed(n)
}

#[test]
fn what_is_kept_forever_is_kept_near_too() {
    let server = Memcached::start();
    let (writer, reader) = (server.cache(), server.cache());
    forever(&writer, 1);
    until("it is kept near", || {
        forever(&reader, 1);
        let asked = server.stat("cmd_get");
        forever(&reader, 1);
        (server.stat("cmd_get") == asked).then_some(())
    });
    assert_eq!(COMPUTED.get(), 1);
}
