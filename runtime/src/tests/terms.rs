//! What a call has returned decides how long it is kept.

use std::time::Duration;

use memocached::memcached;

use crate::cache::Cache;
use crate::call::mode::{Mode, with_mode};
use crate::config::Settings;
use crate::config::jitter::Jitter;
use crate::time::clock::Clock;

const SECOND: Duration = Duration::from_secs(1);

fn cache() -> (Cache, Clock) {
    let clock = Clock::manual();
    let settings = Settings { jitter: Jitter(0), ..Settings::default() };
    (Cache::at(settings, &clock).expect("settings that can be used"), clock)
}

fn never<T>() -> T {
    panic!("it is stored")
}

/// A token, and for how many seconds it is good.
type Token = (u32, Option<u64>);

#[memcached(
    key = "token:<n>", ttl = |token: &Token| token.1, near = 1_000, entry = token_entry, cache = cache, skip(cache, body)
)]
fn token(cache: &Cache, n: u32, body: impl FnOnce() -> Token) -> Token {
    body()
}

#[test]
fn a_value_is_kept_for_as_long_as_it_says() {
    let (cache, clock) = cache();
    let (short, long) = ((1, Some(10)), (2, Some(100)));
    assert_eq!((token(&cache, 1, || short), token(&cache, 2, || long)), (short, long));
    clock.advance(9 * SECOND);
    assert_eq!((token(&cache, 1, never), token(&cache, 2, never)), (short, long));
    // Near copies do not outlive it.
    clock.advance(2 * SECOND);
    assert_eq!((token(&cache, 1, || long), token(&cache, 2, never)), (long, long));
    clock.advance(90 * SECOND);
    assert_eq!((token(&cache, 1, never), token(&cache, 2, || short)), (long, short));
}

#[test]
fn a_value_that_gives_itself_no_time_is_returned_and_not_kept() {
    let (cache, _) = cache();
    for none in [None, Some(0)] {
        assert_eq!([(); 2].map(|()| token(&cache, 1, || (1, none))), [(1, none); 2]);
        assert_eq!(token_entry(&cache, 1).get().unwrap(), None);
        token_entry(&cache, 1).put(&(1, none)).unwrap_err();
        // It takes the place of what was there.
        token(&cache, 1, || (2, Some(5)));
        assert_eq!(with_mode(Mode::Refresh, || token(&cache, 1, || (3, none))), (3, none));
        assert_eq!(token_entry(&cache, 1).get().unwrap(), None);
    }
}

#[test]
fn a_value_that_is_put_is_kept_for_as_long_as_it_says() {
    let (cache, clock) = cache();
    token_entry(&cache, 1).put(&(1, Some(10))).unwrap();
    let several = [2, 3].map(|n| token_entry(&cache, n)).into_iter().collect::<crate::Entries<Token>>();
    assert!(several.put_many(&[(2, Some(20)), (3, None)]).iter().map(Result::is_ok).eq([true, false]));
    clock.advance(9 * SECOND);
    assert_eq!((token(&cache, 1, never), token(&cache, 2, never)), ((1, Some(10)), (2, Some(20))));
    clock.advance(2 * SECOND);
    assert_eq!((token(&cache, 1, || (4, None)), token(&cache, 2, never)), ((4, None), (2, Some(20))));
    assert_eq!(token(&cache, 3, || (5, None)), (5, None));
}

#[memcached(
    key = "each:<n>", each(n in numbers), ttl = |seconds| Duration::from_secs(*seconds), cache = cache, skip(cache, read)
)]
fn each(cache: &Cache, numbers: &[u64], read: &mut dyn FnMut(&[u64])) -> Vec<u64> {
    read(numbers);
    numbers.to_vec()
}

#[test]
fn each_element_of_a_batch_says_how_long_it_is_kept() {
    let (cache, clock) = cache();
    let mut asked = Vec::new();
    let mut all = || {
        each(&cache, &[0, 5, 50], &mut |numbers| asked.push(numbers.to_vec()));
        std::mem::take(&mut asked)
    };
    assert_eq!(all(), [[0, 5, 50]]);
    assert_eq!(all(), [[0]]);
    clock.advance(6 * SECOND);
    assert_eq!(all(), [[0, 5]]);
}

/// An error, and for how many seconds it counts.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Failure(Option<u64>);

#[memcached(
    key = "failing:<n>", ttl = 100, grace = 100, cache_err = |failure: &Failure| failure.0,
    stale_if = |failure| failure.0.is_none(), cache = cache, skip(cache, body)
)]
fn failing(cache: &Cache, n: u32, body: impl FnOnce() -> Result<u32, Failure>) -> Result<u32, Failure> {
    body()
}

#[test]
fn an_error_is_kept_for_as_long_as_it_says() {
    let (cache, clock) = cache();
    let (passing, lasting) = (|| Err(Failure(None)), || Err(Failure(Some(10))));
    assert_eq!(failing(&cache, 1, passing), passing());
    assert_eq!(failing(&cache, 1, lasting), lasting());
    clock.advance(9 * SECOND);
    assert_eq!(failing(&cache, 1, never), lasting());
    clock.advance(2 * SECOND);
    assert_eq!(failing(&cache, 1, || Ok(1)), Ok(1));
}

#[test]
fn an_old_value_is_served_in_place_of_the_errors_that_may_be_hidden() {
    let (cache, clock) = cache();
    assert_eq!(failing(&cache, 1, || Ok(1)), Ok(1));
    clock.advance(101 * SECOND);
    assert_eq!(failing(&cache, 1, || Err(Failure(None))), Ok(1));
    // The origin is left alone for a while.
    assert_eq!(failing(&cache, 1, never), Ok(1));
    clock.advance(5 * SECOND);
    // This one is told, and kept in place of the old value.
    assert_eq!(failing(&cache, 1, || Err(Failure(Some(10)))), Err(Failure(Some(10))));
    assert_eq!(failing(&cache, 1, never), Err(Failure(Some(10))));
}

#[test]
fn an_error_that_may_not_be_hidden_ends_the_old_value() {
    #[memcached(key = "gone:<n>", ttl = 100, grace = 100, stale_if = |error| *error < 500, cache = cache, skip(cache, body))]
    fn gone(cache: &Cache, n: u32, body: impl FnOnce() -> Result<u32, u32>) -> Result<u32, u32> {
        body()
    }
    let (cache, clock) = cache();
    assert_eq!(gone(&cache, 1, || Ok(1)), Ok(1));
    clock.advance(101 * SECOND);
    let (failed, seen) = crate::observed(|| gone(&cache, 1, || Err(500)));
    assert_eq!(failed, Err(500));
    let outcome = crate::CallOutcome::Miss(crate::MissReason::Expired);
    assert_eq!(seen.call().map(|call| call.outcome), Some(outcome));
    assert_eq!(gone(&cache, 1, || Err(400)), Err(400));
    assert_eq!(gone(&cache, 1, || Ok(2)), Ok(2));
}
