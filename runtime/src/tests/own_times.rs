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

/// A page, and for how many seconds it may be served past its ttl.
type Page = (u32, Option<u64>);

#[memcached(
    key = "page:<n>", ttl = 100, grace = |page: &Page| page.1, entry = page_entry, cache = cache, skip(cache, body)
)]
fn page(cache: &Cache, n: u32, body: impl FnOnce() -> Result<Page, ()>) -> Result<Page, ()> {
    body()
}

#[test]
fn a_value_is_served_past_its_ttl_for_as_long_as_it_says() {
    let (cache, clock) = cache();
    let (none, short, long) = ((1, None), (2, Some(10)), (3, Some(100)));
    for page_of in [none, short, long] {
        page(&cache, page_of.0, || Ok(page_of)).unwrap();
    }
    clock.advance(99 * SECOND);
    assert_eq!([1, 2, 3].map(|n| page(&cache, n, never)), [Ok(none), Ok(short), Ok(long)]);
    clock.advance(6 * SECOND);
    assert_eq!([1, 2, 3].map(|n| page(&cache, n, || Err(()))), [Err(()), Ok(short), Ok(long)]);
    // The elected caller has failed, and the origin is left alone for a while.
    assert_eq!([2, 3].map(|n| page(&cache, n, never)), [Ok(short), Ok(long)]);
    clock.advance(6 * SECOND);
    assert_eq!([2, 3].map(|n| page(&cache, n, || Err(()))), [Err(()), Ok(long)]);
    clock.advance(90 * SECOND);
    assert_eq!(page(&cache, 3, || Err(())), Err(()));
}

#[test]
fn a_value_of_its_own_grace_is_refreshed_by_one_caller() {
    let (cache, clock) = cache();
    let (old, new) = ((1, Some(100)), (2, Some(100)));
    page(&cache, 1, || Ok(old)).unwrap();
    clock.advance(101 * SECOND);
    let refreshed = page(&cache, 1, || {
        assert_eq!(page(&cache, 1, never), Ok(old), "others are served the old one");
        Ok(new)
    });
    assert_eq!((refreshed, page(&cache, 1, never)), (Ok(new), Ok(new)));
    // An entry invalidates by the grace of the value that is there.
    assert!(page_entry(&cache, 1).invalidate().unwrap());
    assert_eq!(page(&cache, 1, || Err(())), Ok(new));
    page_entry(&cache, 2).put(&(3, None)).unwrap();
    assert!(page_entry(&cache, 2).invalidate().unwrap());
    assert_eq!(page(&cache, 2, || Err(())), Err(()));
}

#[memcached(
    key = "session:<n>", ttl = 1_000, idle = 100, near = 80, cache_none = 50, entry = session_entry, cache = cache,
    skip(cache, body)
)]
fn session(cache: &Cache, n: u32, body: impl FnOnce() -> Option<u32>) -> Option<u32> {
    body()
}

#[memcached(key = "session:<n>", each(n in numbers), ttl = 1_000, idle = 100, cache = cache, skip(cache, body))]
fn sessions(cache: &Cache, numbers: &[u32], body: fn(&[u32]) -> Vec<u32>) -> Vec<u32> {
    body(numbers)
}

#[test]
fn hits_keep_a_value_alive_until_its_ttl_is_over() {
    let (cache, clock) = cache();
    let begun = clock.now();
    session_entry(&cache, 1).put(&1).unwrap();
    session(&cache, 2, || Some(2));
    let mut ends = None;
    while clock.now() - begun < 2_000 * SECOND {
        // Every second one is near: those do not count.
        clock.advance(20 * SECOND);
        if session(&cache, 1, || Some(3)) != Some(1) {
            ends = Some((clock.now() - begun).as_secs());
            break;
        }
    }
    let ends = ends.expect("it ends");
    assert!((980..=1_020).contains(&ends), "it ended after {ends} s");
    assert_eq!(session(&cache, 2, || Some(4)), Some(4), "no call has asked for it");
}

#[test]
fn a_value_that_no_call_asks_for_ends_after_the_idle_time() {
    let (cache, clock) = cache();
    assert_eq!(session(&cache, 1, || Some(1)), Some(1));
    clock.advance(99 * SECOND);
    assert_eq!(session(&cache, 1, never), Some(1));
    clock.advance(99 * SECOND);
    assert_eq!(session(&cache, 1, never), Some(1), "the hit has pushed its end forward");
    clock.advance(101 * SECOND);
    assert_eq!(session(&cache, 1, || Some(2)), Some(2));
    // No value has a time of its own.
    assert_eq!(session(&cache, 2, || None), None);
    clock.advance(51 * SECOND);
    assert_eq!(session(&cache, 2, || Some(3)), Some(3));
    // A shorter idle time than what is left of it changes nothing.
    clock.advance(30 * SECOND);
    assert_eq!(session_entry(&cache, 2).info().unwrap().unwrap().time_left, Some(70 * SECOND));
    assert_eq!(session(&cache, 2, never), Some(3));
    assert_eq!(session_entry(&cache, 2).info().unwrap().unwrap().time_left, Some(70 * SECOND));
}

#[test]
fn a_batch_keeps_its_elements_alive() {
    let (cache, clock) = cache();
    assert_eq!(sessions(&cache, &[1, 2], <[u32]>::to_vec), [1, 2]);
    for _ in 0..3 {
        clock.advance(90 * SECOND);
        assert_eq!(sessions(&cache, &[2, 1], |_| never()), [2, 1]);
    }
    clock.advance(101 * SECOND);
    assert_eq!(sessions(&cache, &[2, 1], |numbers| numbers.iter().map(|n| n + 2).collect()), [4, 3]);
}

#[test]
fn a_mark_or_a_refresh_is_not_pushed_forward() {
    let (cache, clock) = cache();
    session_entry(&cache, 1).put(&1).unwrap();
    clock.advance(60 * SECOND);
    let writing = session_entry(&cache, 1).writing().unwrap();
    assert_eq!(session(&cache, 1, || Some(2)), Some(2));
    writing.done().unwrap();
    assert_eq!(session_entry(&cache, 1).get().unwrap(), None);
    session_entry(&cache, 1).put(&1).unwrap();
    clock.advance(60 * SECOND);
    assert_eq!(with_mode(Mode::ReadOnly, || session(&cache, 1, never)), Some(1));
    assert_eq!(session_entry(&cache, 1).info().unwrap().unwrap().time_left, Some(40 * SECOND));
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Document(String);

/// What the old value looked like to the body.
type Seen = Option<(Document, Option<Duration>, Option<Vec<u8>>)>;

#[memcached(
    key = "document:<n>", ttl = 100, grace = 1_000, previous = old, near = 1, entry = document_entry, cache = cache,
    skip(cache, body)
)]
fn document(
    cache: &Cache,
    n: u32,
    body: impl FnOnce(Option<crate::Previous<Document>>) -> Result<Document, ()>,
) -> Result<Document, ()> {
    body(old)
}

fn seen(old: &Option<crate::Previous<Document>>) -> Seen {
    old.as_ref().map(|old| (old.value().clone(), old.age(), old.tag().map(<[u8]>::to_vec)))
}

#[test]
fn a_body_sees_what_it_replaces_and_may_find_it_unchanged() {
    let (cache, clock) = cache();
    let first = Document("first".into());
    let computed = document(&cache, 1, |old| {
        assert_eq!(seen(&old), None);
        crate::tag("v1");
        Ok(first.clone())
    });
    assert_eq!(computed, Ok(first.clone()));
    for round in 0..3 {
        clock.advance(101 * SECOND);
        let kept = document(&cache, 1, |old| {
            let old_age = Duration::from_secs(101);
            assert_eq!(seen(&old), Some((first.clone(), Some(old_age), Some(b"v1".into()))), "round {round}");
            Ok(old.unwrap().unchanged())
        });
        assert_eq!(kept, Ok(first.clone()));
        clock.advance(99 * SECOND);
        assert_eq!(document(&cache, 1, |_| never()), Ok(first.clone()), "it is kept for another ttl");
        clock.advance(2 * SECOND);
        // The old value is served in place of an error, and the origin left alone.
        assert_eq!(document(&cache, 1, |_| Err(())), Ok(first.clone()));
        assert_eq!(document(&cache, 1, |_| never()), Ok(first.clone()));
        clock.advance(5 * SECOND);
        let kept = document(&cache, 1, |old| {
            crate::tag("v1");
            Ok(old.unwrap().unchanged())
        });
        assert_eq!(kept, Ok(first.clone()));
    }
    clock.advance(101 * SECOND);
    let second = Document("second".into());
    assert_eq!(document(&cache, 1, |_| Ok(second.clone())), Ok(second.clone()));
    clock.advance(101 * SECOND);
    document(&cache, 1, |old| {
        assert_eq!(
            seen(&old),
            Some((second.clone(), Some(Duration::from_secs(101)), None)),
            "the tag was the old one's"
        );
        Err(())
    })
    .unwrap();
}

#[test]
fn a_body_that_returns_another_value_than_the_unchanged_one_has_that_stored() {
    let (cache, clock) = cache();
    let (old, other) = (Document("old".into()), Document("other".into()));
    document(&cache, 1, |_| Ok(old.clone())).unwrap();
    clock.advance(101 * SECOND);
    let returned = document(&cache, 1, |previous| {
        assert_eq!(previous.unwrap().unchanged(), old);
        Ok(other.clone())
    });
    assert_eq!(returned, Ok(other.clone()));
    assert_eq!(document_entry(&cache, 1).get().unwrap(), Some(other));
}

#[test]
fn an_invalidated_value_is_still_what_the_body_replaces() {
    let (cache, _) = cache();
    let old = Document("old".into());
    document(&cache, 1, |_| Ok(old.clone())).unwrap();
    assert!(document_entry(&cache, 1).invalidate().unwrap());
    let kept = document(&cache, 1, |previous| {
        assert_eq!(seen(&previous), Some((old.clone(), None, None)));
        Ok(previous.unwrap().unchanged())
    });
    assert_eq!(kept, Ok(old.clone()));
    assert!(!document_entry(&cache, 1).info().unwrap().unwrap().is_stale);
    // A refresh that is asked for begins without one.
    with_mode(Mode::Refresh, || document(&cache, 1, |previous| Ok(previous.map_or(old, |_| never())))).unwrap();
}

#[test]
fn a_tag_belongs_to_the_innermost_body_with_previous() {
    #[memcached(key = "plain:<n>", ttl = 100, cache = cache, skip(cache))]
    fn plain(cache: &Cache, n: u32) -> u32 {
        crate::tag("of the outer one");
        document(cache, n, |_| {
            crate::tag([0; 65]);
            crate::tag("of the inner one");
            Ok(Document(String::new()))
        })
        .unwrap();
        n
    }
    let (cache, clock) = cache();
    crate::tag("of no body");
    document(&cache, 1, |_| Ok(Document(plain(&cache, 2).to_string()))).unwrap();
    clock.advance(101 * SECOND);
    let tags = [1, 2].map(|n| {
        let mut tag = None;
        document(&cache, n, |old| {
            tag = seen(&old).and_then(|(_, _, tag)| tag);
            Err(())
        })
        .unwrap();
        tag.map(|tag| String::from_utf8(tag).unwrap())
    });
    assert_eq!(tags, [Some("of the outer one".into()), Some("of the inner one".into())]);
}
