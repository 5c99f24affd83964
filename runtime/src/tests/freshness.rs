//! Memoized functions under a clock that tests set.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memocached::memcached;

use crate::cache::Cache;
use crate::config::Settings;
use crate::exchange::{Reply, Request, Token, Verb};
use crate::time::clock::Clock;

const SECOND: Duration = Duration::from_secs(1);

fn cache() -> (Cache, Clock) {
    let clock = Clock::manual();
    (Cache::at(Settings::default(), &clock).expect("the default settings"), clock)
}

/// A body that counts its runs.
fn next(runs: &AtomicU32) -> u32 {
    runs.fetch_add(1, Ordering::Relaxed) + 1
}

type Answer = Result<u32, String>;

#[memcached(key = "graced:<n>", ttl = 100, grace = 50, cache = cache, skip(cache, body), entry = graced_entry)]
fn graced(cache: &Cache, n: u32, body: impl FnOnce() -> Answer) -> Answer {
    body()
}

fn fails() -> Answer {
    Err("the origin is down".into())
}

#[test]
fn a_stale_value_is_computed_anew_by_one_and_served_to_the_others() {
    let (cache, clock) = cache();
    assert_eq!(graced(&cache, 1, || Ok(1)), Ok(1));
    clock.advance(101 * SECOND);
    let renewed = graced(&cache, 1, || {
        std::thread::scope(|scope| {
            let others: Vec<_> = (0..8).map(|_| scope.spawn(|| graced(&cache, 1, || panic!("one computes")))).collect();
            others.into_iter().for_each(|other| assert_eq!(other.join().unwrap(), Ok(1)));
        });
        Ok(2)
    });
    assert_eq!(renewed, Ok(2));
    assert_eq!(graced(&cache, 1, || panic!("it is fresh")), Ok(2));
}

#[test]
fn a_value_is_fresh_before_its_ttl_and_gone_behind_its_grace() {
    let (cache, clock) = cache();
    assert_eq!(graced(&cache, 1, || Ok(1)), Ok(1));
    clock.advance(89 * SECOND);
    assert_eq!(graced(&cache, 1, fails), Ok(1));
    clock.advance(62 * SECOND);
    assert_eq!(graced(&cache, 1, fails), fails());
}

#[test]
fn an_error_is_answered_with_the_stale_value_and_does_not_renew_it() {
    let (cache, clock) = cache();
    assert_eq!(graced(&cache, 1, || Ok(1)), Ok(1));
    clock.advance(101 * SECOND);
    let runs = AtomicU32::new(0);
    let mut served = 0;
    // A call that has failed is followed by another when it is taken for dead.
    while graced(&cache, 1, || (next(&runs), fails()).1) == Ok(1) {
        served += 1;
        clock.advance(SECOND);
        assert!(served <= 50, "served for longer than grace");
    }
    assert!(served >= 38, "served for {served} seconds only");
    let runs = runs.load(Ordering::Relaxed);
    assert!((8..=14).contains(&runs), "{runs} runs");
}

#[test]
fn a_panic_while_a_value_is_computed_anew_leaves_it_to_the_next() {
    let (cache, clock) = cache();
    assert_eq!(graced(&cache, 1, || Ok(1)), Ok(1));
    clock.advance(101 * SECOND);
    let panics = || graced(&cache, 1, || panic!("on purpose"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).is_err());
    assert_eq!(graced(&cache, 1, || Ok(2)), Ok(2));
    assert_eq!(cache.flights().len(), 0);
}

#[test]
fn a_process_that_died_while_computing_a_value_anew_is_replaced() {
    let (cache, clock) = cache();
    assert_eq!(graced(&cache, 1, || Ok(1)), Ok(1));
    clock.advance(101 * SECOND);
    // As by a process that is elected, and dies.
    let lookup = Request::Lookup { key: "graced:1", lease: SECOND, refresh: 50 * SECOND };
    let elected = cache.store().ask(Verb::Get, &lookup, &cache.budget()).unwrap();
    assert!(matches!(elected, Reply::Found(item) if item.token == Token::Won));
    assert_eq!(graced(&cache, 1, || panic!("another computes")), Ok(1));
    clock.advance(5 * SECOND);
    assert_eq!(graced(&cache, 1, || Ok(2)), Ok(2));
}

#[test]
fn an_invalidated_value_is_stale_and_a_deleted_one_is_gone() {
    let (cache, clock) = cache();
    let entry = || graced_entry(&cache, 1);
    assert_eq!(graced(&cache, 1, || Ok(1)), Ok(1));
    assert!(entry().invalidate().unwrap());
    assert_eq!(entry().get().unwrap(), None);
    assert!(entry().info().unwrap().unwrap().is_stale);
    assert_eq!(graced(&cache, 1, fails), Ok(1));
    // For as long as grace, and no longer.
    clock.advance(51 * SECOND);
    assert_eq!(graced(&cache, 1, fails), fails());

    assert_eq!(graced(&cache, 1, || Ok(2)), Ok(2));
    assert!(entry().delete().unwrap());
    assert_eq!(graced(&cache, 1, fails), fails());
}

#[test]
fn an_invalidation_during_a_computation_wins() {
    let (cache, clock) = cache();
    let invalidate = || graced_entry(&cache, 1).invalidate().unwrap();
    // Of a value that is missing, and of one that is stale.
    assert_eq!(graced(&cache, 1, || (invalidate(), Ok(1)).1), Ok(1));
    assert_eq!(graced(&cache, 1, || Ok(2)), Ok(2));
    clock.advance(101 * SECOND);
    assert_eq!(graced(&cache, 1, || (invalidate(), Ok(3)).1), Ok(3));
    assert_eq!(graced(&cache, 1, || Ok(4)), Ok(4));
    assert_eq!(graced(&cache, 1, fails), Ok(4));
}

#[memcached(key = "ahead:<n>", ttl = 100, refresh_ahead = 30, cache = cache, skip(cache, runs))]
fn ahead(cache: &Cache, n: u32, runs: &AtomicU32) -> u32 {
    next(runs)
}

#[test]
fn a_fresh_value_is_computed_anew_ahead_of_its_end_once() {
    let ((cache, clock), runs) = (cache(), AtomicU32::new(0));
    assert_eq!(ahead(&cache, 1, &runs), 1);
    clock.advance(59 * SECOND);
    assert_eq!(ahead(&cache, 1, &runs), 1);
    clock.advance(12 * SECOND);
    assert_eq!(ahead(&cache, 1, &runs), 2);
    for _ in 0..59 {
        assert_eq!(ahead(&cache, 1, &runs), 2);
        clock.advance(SECOND);
    }
}

#[memcached(key = "auto:<n>", ttl = 100, refresh_ahead = auto, cache = cache, skip(cache, runs))]
fn auto(cache: &Cache, n: u32, runs: &AtomicU32) -> u32 {
    next(runs)
}

#[test]
fn a_value_that_is_quick_to_compute_is_computed_anew_at_its_end_only() {
    let ((cache, clock), runs) = (cache(), AtomicU32::new(0));
    for n in 0..50 {
        auto(&cache, n, &runs);
        assert_eq!(runs.load(Ordering::Relaxed), n + 1);
    }
    clock.advance(80 * SECOND);
    (0..50).for_each(|n| _ = auto(&cache, n, &runs));
    assert_eq!(runs.load(Ordering::Relaxed), 50);
    for _ in 0..20 {
        clock.advance(SECOND);
        (0..50).for_each(|n| _ = auto(&cache, n, &runs));
    }
    // In the last second of each, or as soon as it had ended.
    assert_eq!(runs.load(Ordering::Relaxed), 100);
}

#[memcached(key = "absent:<n>", ttl = 100, cache_none = 10, cache = cache, skip(cache, body))]
fn absent(cache: &Cache, n: u32, body: impl FnOnce() -> Option<u32>) -> Option<u32> {
    body()
}

#[test]
fn that_there_is_no_value_is_kept_for_its_own_time() {
    let (cache, clock) = cache();
    assert_eq!(absent(&cache, 1, || None), None);
    clock.advance(8 * SECOND);
    assert_eq!(absent(&cache, 1, || panic!("it is known")), None);
    clock.advance(3 * SECOND);
    assert_eq!(absent(&cache, 1, || Some(1)), Some(1));
    clock.advance(80 * SECOND);
    assert_eq!(absent(&cache, 1, || panic!("it is known")), Some(1));
}

#[memcached(
    key = "failing:<n>", ttl = 100, grace = 50, cache_none = 20, cache_err = 10,
    cache = cache, skip(cache, body)
)]
fn failing(cache: &Cache, n: u32, body: impl FnOnce() -> Result<Option<u32>, String>) -> Result<Option<u32>, String> {
    body()
}

#[test]
fn an_error_is_kept_for_its_own_time_and_never_in_place_of_a_value() {
    let (cache, clock) = cache();
    let error = || Err("no".to_owned());
    assert_eq!(failing(&cache, 1, error), error());
    clock.advance(8 * SECOND);
    assert_eq!(failing(&cache, 1, || panic!("it is known")), error());
    clock.advance(3 * SECOND);
    assert_eq!(failing(&cache, 1, || Ok(None)), Ok(None));
    clock.advance(17 * SECOND);
    assert_eq!(failing(&cache, 1, || panic!("it is known")), Ok(None));
    clock.advance(4 * SECOND);
    assert_eq!(failing(&cache, 1, || Ok(Some(1))), Ok(Some(1)));
    clock.advance(101 * SECOND);
    assert_eq!(failing(&cache, 1, error), Ok(Some(1)));
    // The origin is left alone for a while.
    assert_eq!(failing(&cache, 1, || panic!("it has just failed")), Ok(Some(1)));
    clock.advance(5 * SECOND);
    assert_eq!(failing(&cache, 1, || Ok(Some(2))), Ok(Some(2)));
    // What is no longer there takes the place of what was.
    clock.advance(101 * SECOND);
    assert_eq!(failing(&cache, 1, || Ok(None)), Ok(None));
    assert_eq!(failing(&cache, 1, || panic!("it is known")), Ok(None));
}

#[test]
fn a_stale_value_that_is_no_more_is_not_served_again() {
    #[memcached(key = "gone:<n>", ttl = 100, grace = 50, cache = cache, skip(cache, body))]
    fn gone(cache: &Cache, n: u32, body: impl FnOnce() -> Option<u32>) -> Option<u32> {
        body()
    }
    let (cache, clock) = cache();
    assert_eq!(gone(&cache, 1, || Some(1)), Some(1));
    clock.advance(101 * SECOND);
    assert_eq!(gone(&cache, 1, || None), None);
    assert_eq!(gone(&cache, 1, || Some(2)), Some(2));
}

#[memcached(key = "near:<n>", ttl = 100, near = 10, cache = cache, skip(cache, runs), entry = near_entry)]
fn near(cache: &Cache, n: u32, runs: &AtomicU32) -> u32 {
    next(runs)
}

/// Changes the value as another process does: this one knows nothing of it.
fn delete_elsewhere(cache: &Cache, key: &str) {
    let request = Request::Delete { key, guard: crate::exchange::Guard::None };
    cache.store().ask(Verb::Delete, &request, &cache.budget()).unwrap();
}

#[test]
fn a_near_value_is_served_for_its_time_and_no_longer() {
    let ((cache, clock), runs) = (cache(), AtomicU32::new(0));
    assert_eq!(near(&cache, 1, &runs), 1);
    delete_elsewhere(&cache, "near:1");
    clock.advance(9 * SECOND);
    assert_eq!(near(&cache, 1, &runs), 1);
    clock.advance(SECOND);
    assert_eq!(near(&cache, 1, &runs), 2);
}

#[test]
fn a_near_value_never_outlives_the_far_one() {
    let ((cache, clock), runs) = (cache(), AtomicU32::new(0));
    assert_eq!(near(&cache, 1, &runs), 1);
    for _ in 0..300 {
        clock.advance(SECOND / 2);
        let far = cache.store().ask(Verb::Get, &Request::Peek { key: "near:1" }, &cache.budget()).unwrap();
        let before = runs.load(Ordering::Relaxed);
        let value = near(&cache, 1, &runs);
        assert_eq!(value == before, matches!(far, Reply::Found(_)), "{value} while far is {far:?}");
    }
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[test]
fn what_this_process_changes_is_not_served_near() {
    let ((cache, _), runs) = (cache(), AtomicU32::new(0));
    assert_eq!(near(&cache, 1, &runs), 1);
    near_entry(&cache, 1).put(&70).unwrap();
    assert_eq!(near(&cache, 1, &runs), 70);
    near_entry(&cache, 1).delete().unwrap();
    assert_eq!(near(&cache, 1, &runs), 2);
    near_entry(&cache, 1).invalidate().unwrap();
    assert_eq!(near(&cache, 1, &runs), 3);
    assert_eq!(runs.load(Ordering::Relaxed), 3);
}

#[test]
fn a_near_value_is_replaced_by_a_refresh_and_by_nothing_else() {
    use crate::call::mode::{Mode, with_mode};
    let ((cache, _), runs) = (cache(), AtomicU32::new(0));
    assert_eq!(near(&cache, 1, &runs), 1);
    assert_eq!(with_mode(Mode::Bypass, || near(&cache, 1, &runs)), 2);
    assert_eq!(near(&cache, 1, &runs), 1);
    assert_eq!(with_mode(Mode::Refresh, || near(&cache, 1, &runs)), 3);
    assert_eq!(near(&cache, 1, &runs), 3);
    assert_eq!(with_mode(Mode::ReadOnly, || near(&cache, 1, &runs)), 3);
    assert_eq!(with_mode(Mode::ReadOnly, || near(&cache, 2, &runs)), 4);
    assert_eq!(near(&cache, 2, &runs), 5);
}

/// What is written into a key with a call of its own, kept near as well.
struct Nested<'a>(&'a Cache, u32, &'a AtomicU32);

impl std::fmt::Display for Nested<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", near(self.0, self.1, self.2))
    }
}

#[test]
fn a_key_can_take_a_near_call_of_its_own() {
    #[memcached(key = "nested:<a:display>:<b:display>", ttl = 100, near = 10, cache = cache, skip(cache, runs))]
    fn sum(cache: &Cache, a: Nested<'_>, b: Nested<'_>, runs: &AtomicU32) -> u32 {
        next(runs)
    }
    let ((cache, _), inner, runs) = (cache(), AtomicU32::new(0), AtomicU32::new(0));
    let call = |a, b| sum(&cache, Nested(&cache, a, &inner), Nested(&cache, b, &inner), &runs);
    assert_eq!([call(1, 2), call(2, 1), call(1, 2), call(2, 1)], [1, 2, 1, 2]);
    delete_elsewhere(&cache, "nested:1:2");
    assert_eq!([call(1, 2), call(1, 1), call(1, 2)], [1, 3, 1]);
    assert_eq!(inner.load(Ordering::Relaxed), 2);
}

#[test]
fn a_near_value_has_a_key_of_any_length() {
    #[memcached(key = "long:<text>", ttl = 100, near = 10, cache = cache, skip(cache, runs))]
    fn long(cache: &Cache, text: &str, runs: &AtomicU32) -> u32 {
        next(runs)
    }
    let ((cache, clock), runs) = (cache(), AtomicU32::new(0));
    // Beyond 250 bytes a key's name becomes a hash.
    let texts: Vec<String> = (240..250).map(|length| "x".repeat(length)).collect();
    let calls = || texts.iter().map(|text| long(&cache, text, &runs)).collect::<Vec<_>>();
    let first = calls();
    assert_eq!(runs.load(Ordering::Relaxed), 10);
    cache.store().ask(Verb::FlushAll, &Request::FlushAll { delay: Duration::ZERO }, &cache.budget()).unwrap();
    clock.advance(9 * SECOND);
    assert_eq!(calls(), first);
    clock.advance(SECOND);
    assert_ne!(calls(), first);
}

#[test]
fn that_there_is_no_value_is_kept_near_as_well() {
    #[memcached(key = "none:<n>", ttl = 100, cache_none = 50, near = 10, cache = cache, skip(cache, runs))]
    fn none(cache: &Cache, n: u32, runs: &AtomicU32) -> Option<u32> {
        next(runs);
        None
    }
    let ((cache, clock), runs) = (cache(), AtomicU32::new(0));
    let computed = || (none(&cache, 1, &runs), runs.load(Ordering::Relaxed));
    assert_eq!(computed(), (None, 1));
    delete_elsewhere(&cache, "none:1");
    clock.advance(9 * SECOND);
    assert_eq!(computed(), (None, 1));
    clock.advance(SECOND);
    assert_eq!(computed(), (None, 2));
}

#[test]
fn ttls_are_spread_over_their_last_tenth() {
    #[memcached(key = "spread:<n>", ttl = 1000, cache = cache, skip(cache, runs))]
    fn spread(cache: &Cache, n: u32, runs: &AtomicU32) -> u32 {
        next(runs)
    }
    let ((cache, clock), runs) = (cache(), AtomicU32::new(0));
    (0..1_000).for_each(|n| _ = spread(&cache, n, &runs));
    clock.advance(900 * SECOND);
    let mut ended = [0; 10];
    let left = |n| {
        let key = format!("spread:{n}");
        match cache.store().ask(Verb::Get, &Request::Peek { key: &key }, &cache.budget()).unwrap() {
            Reply::Found(item) => item.seconds_left.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    (0..1_000).for_each(|n| ended[(left(n) / 10) as usize % 10] += 1);
    let chi_square: f64 = ended.iter().map(|count| f64::from(count - 100).powi(2) / 100.0).sum();
    assert!(chi_square < 27.9, "{ended:?}");
    clock.advance(100 * SECOND);
    (0..1_000).for_each(|n| _ = spread(&cache, n, &runs));
    assert_eq!(runs.load(Ordering::Relaxed), 2_000);
}
