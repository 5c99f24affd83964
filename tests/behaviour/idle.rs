//! Hits push the end of values forward on a real server, and of nothing else.

use std::time::Duration;

use memocached::{Cache, Protocol, memcached, observed};

use crate::support::asking::{eventually, of};
use crate::support::memcached::Memcached;

#[memcached(key = "session:<n>", ttl = 1_000, idle = 100, entry = session_entry, cache = cache, skip(cache, body))]
fn session(cache: &Cache, n: u64, body: &mut dyn FnMut() -> u64) -> u64 {
    body()
}

fn never() -> u64 {
    panic!("it is stored")
}

/// Seconds that the server keeps an item for, and the item's number.
fn left(server: &Memcached, key: &str) -> Option<(u64, u64)> {
    let answer = server.command(&format!("mg {key} t c"));
    let mut words = answer.strip_prefix("HD t")?.split([' ', 'c']).filter_map(|word| word.trim().parse().ok());
    words.next().zip(words.next())
}

fn cache(server: &Memcached) -> Cache {
    of(&server.address()).jitter(0).build().unwrap()
}

#[test]
fn a_hit_in_the_second_half_of_the_idle_time_begins_another_one() {
    let server = Memcached::start();
    let cache = cache(&server);
    session(&cache, 1, &mut || 7);
    let (_, first) = left(&server, "session:1").unwrap();
    assert_eq!(session(&cache, 1, &mut never), 7);
    assert_eq!(left(&server, "session:1").unwrap().1, first, "nothing is written in its first half");
    // A touch stands for time that passes.
    for _ in 0..3 {
        server.command("mg session:1 T40");
        assert_eq!(session(&cache, 1, &mut never), 7);
        assert!(left(&server, "session:1").unwrap().0 >= 98);
    }
    // It is now 183 seconds old to the server, so 817 are left of its ttl.
    for idle in 0..14 {
        server.command("mg session:1 T40");
        session(&cache, 1, &mut never);
        let (left, _) = left(&server, "session:1").unwrap();
        let most = 1_000_u64.saturating_sub(61 * (idle + 4));
        assert!(left <= most.max(40), "{left} s after {idle} idle times");
    }
    assert!(left(&server, "session:1").unwrap().0 <= 40, "its ttl is over");
}

#[test]
fn the_age_of_a_value_is_counted_from_when_it_was_computed() {
    let server = Memcached::start();
    let cache = cache(&server);
    session(&cache, 1, &mut || 7);
    let age = || observed(|| session(&cache, 1, &mut never)).1.call().and_then(|call| call.age);
    assert!(age().is_some_and(|age| age <= Duration::from_secs(2)));
    server.command("mg session:1 T40");
    let seen = age();
    assert!(seen.is_some_and(|age| (60..63).contains(&age.as_secs())), "{seen:?}");
    let seen = age();
    assert!(seen.is_some_and(|age| (61..64).contains(&age.as_secs())), "{seen:?}");
}

/// A lease that was kept for longer would keep all other callers waiting after its holder
/// has died, and a mark would keep the value out of the cache.
#[test]
fn leases_and_marks_end_as_they_would_without_it() {
    let server = Memcached::start();
    let cache = cache(&server);
    session(&cache, 1, &mut || {
        assert!(left(&server, "session:1").unwrap().0 <= 4, "a lease");
        std::thread::scope(|scope| {
            scope.spawn(|| session(&cache, 1, &mut || 8));
        });
        assert!(
            left(&server, "session:1").is_none_or(|(left, _)| left <= 4 || left >= 98),
            "still a lease, or a value"
        );
        7
    });
    let writing = session_entry(&cache, 1).writing().unwrap();
    assert_eq!(session(&cache, 1, &mut || 9), 9);
    assert!(left(&server, "session:1").unwrap().0 <= 10, "a mark");
    writing.done().unwrap();
    assert_eq!(left(&server, "session:1"), None);
}

#[test]
fn what_is_deleted_before_its_end_is_pushed_stays_deleted() {
    let server = Memcached::start();
    let cache = cache(&server);
    session(&cache, 1, &mut || 7);
    server.command("mg session:1 T40");
    // As the request arrives when another process has changed the value in between.
    let proxy = crate::support::proxy::Proxy::before(server.address().rsplit(':').next().unwrap().parse().unwrap());
    let other = of(&proxy.address()).jitter(0).build().unwrap();
    let held = proxy.hold(|request| request.starts_with("ms session:1"));
    std::thread::scope(|scope| {
        let hit = scope.spawn(|| session(&other, 1, &mut never));
        held.caught();
        session_entry(&cache, 1).delete().unwrap();
        held.release();
        assert_eq!(hit.join().unwrap(), 7);
    });
    assert_eq!(left(&server, "session:1"), None);
}

#[test]
fn a_server_that_does_not_tell_the_time_keeps_values_for_their_ttl() {
    let server = Memcached::start();
    let cache = of(&server.address()).jitter(0).protocol(Protocol::Ascii).build().unwrap();
    session(&cache, 1, &mut || 7);
    assert!(left(&server, "session:1").unwrap().0 > 900);
    assert_eq!(session(&cache, 1, &mut never), 7);
}

#[memcached(key = "async:<n>", ttl = 1_000, idle = 100, grace = 50, cache = &cache, skip(cache))]
async fn async_session(cache: Cache, n: u64) -> u64 {
    n
}

#[memcached(key = "async:<n>", each(n in numbers), ttl = 1_000, idle = 100, grace = 50, cache = cache, skip(cache))]
async fn async_sessions(cache: &Cache, numbers: &[u64]) -> Vec<u64> {
    numbers.to_vec()
}

#[tokio::test]
async fn async_calls_push_without_keeping_their_callers() {
    let server = Memcached::start();
    let cache = cache(&server);
    assert_eq!(async_sessions(&cache, &[1, 2]).await, [1, 2]);
    assert_eq!(async_session(cache.clone(), 1).await, 1);
    let is_pushed = |key: &str| left(&server, key).is_some_and(|(left, _)| left > 140);
    for key in ["async:1", "async:2"] {
        assert!(is_pushed(key));
        // Less than half of the idle time is left, and then its grace.
        server.command(&format!("mg {key} T90"));
    }
    assert_eq!(async_session(cache.clone(), 1).await, 1);
    eventually("a value pushed by a call", async || is_pushed("async:1").then_some(())).await;
    assert!(!is_pushed("async:2"));
    assert_eq!(async_sessions(&cache, &[2, 1]).await, [2, 1]);
    eventually("a value pushed by a batch", async || is_pushed("async:2").then_some(())).await;
}
