//! What a site or a caller may choose: condition, veto, errors, codec, mode,
//! entry.

use std::cell::Cell;
use std::time::Duration;

use memocached::testing::with_cache;
use memocached::{AsyncEntry, Cache, Entries, Entry, ErrorKind, Mode, memcached, updates, with_mode, with_mode_async};

use crate::support::memcached::Memcached;

/// Counts its computations.
#[derive(Default)]
struct Count(Cell<u32>);

impl Count {
    fn next(&self) -> u32 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

#[memcached(key = "choices:when:<n>", when = n < 10 && *wanted, skip(count, wanted))]
fn conditional(count: &Count, n: u32, wanted: &bool) -> u32 {
    let _ = (n, wanted);
    count.next()
}

#[test]
fn a_condition_decides_whether_the_cache_is_asked() {
    let count = Count::default();
    with_cache(&Cache::embedded(), || {
        assert_eq!([true, true, false, true].map(|wanted| conditional(&count, 1, &wanted)), [1, 1, 2, 1]);
        assert_eq!([true, true].map(|wanted| conditional(&count, 10, &wanted)), [3, 4]);
    });
}

#[memcached(key = "choices:store_if:<n>", store_if = |value| *value > 1, cache = cache, skip(cache, count))]
fn vetoed(cache: &Cache, count: &Count, n: u32) -> Option<u32> {
    let _ = n;
    Some(count.next())
}

#[memcached(key = "choices:async_store_if:<n>", store_if = |value: &u32| *value > 1, cache = cache, skip(cache, count))]
async fn async_vetoed(cache: &Cache, count: &Count, n: u32) -> u32 {
    let _ = n;
    count.next()
}

#[tokio::test]
async fn a_veto_keeps_a_value_out() {
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        let count = Count::default();
        assert_eq!([(); 3].map(|()| vetoed(&cache, &count, 1)), [Some(1), Some(2), Some(2)]);
    }
    let (cache, count) = (Cache::embedded(), Count::default());
    for expected in [1, 2, 2] {
        assert_eq!(async_vetoed(&cache, &count, 1).await, expected);
    }
}

#[memcached(key = "choices:wanted:<n>", store_if = |n| *n > 1, cache = cache, skip(cache), entry = wanted_entry)]
fn wanted(cache: &Cache, n: u32) -> Option<u32> {
    Some(n)
}

#[memcached(key = "choices:async_wanted:<n>", store_if = |value| *value > 1, cache = cache, skip(cache), entry = async_wanted_entry)]
async fn async_wanted(cache: &Cache, n: u32) -> u32 {
    n
}

/// It reads the argument, which its entry's value may outlive.
#[memcached(key = "choices:other:<n>", store_if = |value| *value != n, cache = cache, skip(cache), entry = other_entry)]
fn other(cache: &Cache, n: u32) -> u32 {
    n + 1
}

#[updates(wanted_entry(cache, n))]
fn update(cache: &Cache, n: u32, value: u32) -> u32 {
    let _ = (cache, n);
    value
}

#[tokio::test]
async fn a_veto_keeps_out_what_is_put_too() {
    let cache = Cache::embedded();
    let entry = wanted_entry(&cache, 5);
    assert_eq!(entry.put(&1).unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!(entry.get().unwrap(), None);
    let entries = [entry.clone(), wanted_entry(&cache, 6)].into_iter().collect::<Entries<_>>();
    let kinds = entries.put_many(&[0, 7]).into_iter().map(|put| put.map_err(|error| error.kind()));
    assert_eq!(kinds.collect::<Vec<_>>(), [Err(ErrorKind::Rejected), Ok(())]);
    assert_eq!((entry.get().unwrap(), wanted(&cache, 6)), (None, Some(7)));
    update(&cache, 5, 3);
    assert_eq!(wanted(&cache, 5), Some(3));
    update(&cache, 5, 1);
    assert_eq!((entry.get().unwrap(), wanted(&cache, 5)), (None, Some(5)));
    let entry = async_wanted_entry(&cache, 5);
    assert_eq!(entry.put(&1).await.unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!((entry.get().await.unwrap(), async_wanted(&cache, 5).await), (None, 5));
    other_entry(&cache, 5).put(&7).unwrap();
    assert_eq!(other(&cache, 5), 7);
}

#[derive(Debug, PartialEq)]
enum Failure {
    Body,
    Cache(ErrorKind),
}

impl From<memocached::Error> for Failure {
    fn from(error: memocached::Error) -> Self {
        Failure::Cache(error.kind())
    }
}

#[memcached(key = "choices:propagate:<n>", on_error = propagate, cache = cache, skip(cache))]
fn propagating(cache: &Cache, n: u32) -> Result<u32, Failure> {
    n.checked_sub(1).ok_or(Failure::Body)
}

#[memcached(key = "choices:async_propagate:<n>", on_error = propagate, cache = cache, skip(cache))]
async fn async_propagating(cache: &Cache, n: u32) -> Result<Option<u32>, Failure> {
    Ok(Some(n))
}

#[tokio::test]
async fn errors_of_the_cache_reach_the_functions_that_ask_for_them() {
    let mut server = Memcached::start();
    let cache = server.cache();
    assert_eq!((propagating(&cache, 1), propagating(&cache, 0)), (Ok(0), Err(Failure::Body)));
    assert_eq!(async_propagating(&cache, 1).await, Ok(Some(1)));
    server.kill();
    assert_eq!(propagating(&cache, 1), Err(Failure::Cache(ErrorKind::Connect)));
    assert_eq!(async_propagating(&cache, 1).await, Err(Failure::Cache(ErrorKind::CircuitOpen)));
}

#[memcached(key = "choices:text:<n:display>", codec = text, cache = cache, skip(cache), entry = text_entry)]
fn as_text(cache: &Cache, n: f64) -> f64 {
    n / 2.0
}

#[memcached(key = "choices:json:<n>", codec = json, cache = cache, skip(cache))]
fn as_json(cache: &Cache, n: u32) -> (u32, String) {
    (n, "text".into())
}

#[memcached(key = "choices:postcard:<n>", codec = postcard, cache = cache, skip(cache))]
fn as_postcard(cache: &Cache, n: u32) -> (u32, String) {
    (n, "text".into())
}

#[test]
fn a_codec_decides_what_is_stored() {
    let server = Memcached::start();
    let cache = server.cache();
    assert_eq!((as_text(&cache, 5.0), as_text(&cache, 5.0)), (2.5, 2.5));
    assert_eq!(server.stored("choices:text:5").unwrap(), b"2.5", "nothing but the text");
    assert_eq!(server.command("mg choices:text:5 f"), "HD f16", "marked as text");
    assert_eq!((as_json(&cache, 1), as_json(&cache, 1)), ((1, "text".into()), (1, "text".into())));
    assert!(server.stored("choices:json:1").unwrap().ends_with(br#"[1,"text"]"#));
    assert_eq!((as_postcard(&cache, 1), as_postcard(&cache, 1)), ((1, "text".into()), (1, "text".into())));
    assert!(server.stored("choices:postcard:1").unwrap().ends_with(b"\x01\x04text"));
}

#[test]
fn text_of_another_program_is_a_hit_unless_it_is_marked_as_something_else() {
    let server = Memcached::start();
    let cache = server.cache();
    for flags in [0, 2, 16] {
        server.command(&format!("ms choices:text:9 4 F{flags}\r\n7.25"));
        assert_eq!(as_text(&cache, 9.0), 7.25, "flags {flags}");
    }
    for (flags, text) in [(1, "7.25"), (8, "7.25"), (16, "many")] {
        server.command(&format!("ms choices:text:9 4 F{flags}\r\n{text}"));
        assert_eq!(as_text(&cache, 9.0), 4.5, "flags {flags}, {text:?}");
        assert_eq!(text_entry(&cache, 9.0).get().unwrap(), Some(4.5), "replaced");
    }
}

#[memcached(key = "choices:mode:<n>", cache = cache, skip(cache, count), entry = mode_entry)]
fn moded(cache: &Cache, count: &Count, n: u32) -> u32 {
    let _ = n;
    count.next()
}

#[test]
fn modes_refresh_bypass_and_only_read() {
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        let count = Count::default();
        let call = || moded(&cache, &count, 1);
        let stored = || mode_entry(&cache, 1).get().unwrap();
        assert_eq!((with_mode(Mode::ReadOnly, call), stored()), (1, None));
        assert_eq!((with_mode(Mode::Bypass, call), stored()), (2, None));
        assert_eq!((call(), stored()), (3, Some(3)));
        assert_eq!((with_mode(Mode::ReadOnly, call), stored()), (3, Some(3)));
        assert_eq!((with_mode(Mode::Bypass, call), stored()), (4, Some(3)));
        assert_eq!((with_mode(Mode::Refresh, call), stored()), (5, Some(5)));
        assert_eq!(with_mode(Mode::Bypass, || with_mode(Mode::Normal, call)), 5, "the innermost counts");
    }
}

#[test]
fn a_mode_ends_with_a_panic() {
    let (cache, count) = (Cache::embedded(), Count::default());
    let panics = || with_mode(Mode::Bypass, || panic!("on purpose"));
    assert!(std::panic::catch_unwind(panics).is_err());
    assert_eq!([(); 2].map(|()| moded(&cache, &count, 2)), [1, 1]);
}

#[memcached(key = "choices:async_mode:<n>", cache = cache, skip(cache, count))]
async fn async_moded(cache: &Cache, count: &std::sync::atomic::AtomicU32, n: u32) -> u32 {
    let _ = n;
    tokio::task::yield_now().await;
    count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

#[tokio::test(flavor = "current_thread")]
async fn a_mode_follows_its_future_and_no_other() {
    let (cache, count) = (Cache::embedded(), std::sync::atomic::AtomicU32::new(0));
    let call = || async {
        tokio::task::yield_now().await;
        async_moded(&cache, &count, 1).await
    };
    assert_eq!(call().await, 0);
    let (bypassed, normal, nested) = tokio::join!(
        with_mode_async(Mode::Bypass, call()),
        call(),
        with_mode_async(Mode::Bypass, with_mode_async(Mode::ReadOnly, call())),
    );
    assert_eq!((bypassed, normal, nested), (1, 0, 0));
    let spawned = tokio::time::timeout(Duration::from_secs(5), with_mode_async(Mode::Bypass, call())).await;
    assert_eq!(spawned, Ok(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_follows_its_future_between_threads() {
    let tasks = (0..32).map(|n| {
        tokio::spawn(async move {
            let (cache, count) = (Cache::embedded(), std::sync::atomic::AtomicU32::new(0));
            let mode = if n % 2 == 0 { Mode::Bypass } else { Mode::Normal };
            with_mode_async(mode, async {
                for _ in 0..50 {
                    async_moded(&cache, &count, n).await;
                }
            })
            .await;
            (mode, count.into_inner())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        let (mode, computed) = task.await.unwrap();
        assert_eq!(computed, if mode == Mode::Bypass { 50 } else { 1 });
    }
}

#[memcached(key = "choices:info:<n>", ttl = 60, cache = cache, skip(cache), entry = info_entry)]
fn described(cache: &Cache, n: u32) -> String {
    std::hint::black_box((0..100_000).fold(0_u64, |sum, n| sum ^ n));
    "x".repeat(n as usize)
}

#[test]
fn an_entry_tells_about_its_value() {
    let server = Memcached::start();
    for cache in [Cache::embedded(), server.cache()] {
        let entry = info_entry(&cache, 100);
        assert_eq!(entry.info().unwrap(), None);
        described(&cache, 100);
        let info = entry.info().unwrap().unwrap();
        let left = info.time_left.unwrap();
        assert!(left <= Duration::from_secs(60) && left >= Duration::from_secs(50), "{left:?}");
        assert!(info.size > 100 && info.size < 200, "{}", info.size);
        assert!(info.cost > Duration::from_nanos(100), "{:?}", info.cost);
        entry.put(&"y".into()).unwrap();
        assert_eq!(entry.info().unwrap().unwrap().cost, Duration::ZERO);
        assert!(entry.invalidate().unwrap());
        assert_eq!(entry.get().unwrap(), None);
    }
}

#[memcached(key = "choices:site:<n>", ttl = "1h30m", version = 7, name = "the site")]
fn site(n: u32) -> u32 {
    n
}

#[memcached(key = "choices:site:<n>")]
fn twin(n: u32) -> u32 {
    n
}

type Answer = Result<Option<u32>, std::num::ParseIntError>;

#[memcached(key = "choices:kept:<text>", cache = cache, skip(cache), codec = text, entry = parsed_entry)]
fn parsed(cache: &Cache, text: &str) -> Answer {
    text.parse().map(Some)
}

#[memcached(key = "choices:kept:async:<n>", cache = cache, skip(cache), entry = doubled_entry)]
async fn doubled(cache: &Cache, n: u32) -> Option<u32> {
    n.checked_mul(2)
}

/// Names neither codec nor shape.
struct Kept<R> {
    blocking: Entry<Answer>,
    on_tokio: AsyncEntry<R>,
}

impl<R> Kept<R> {
    async fn delete(&self) -> (bool, bool) {
        (self.blocking.delete().unwrap(), self.on_tokio.delete().await.unwrap())
    }
}

#[tokio::test]
async fn an_entry_is_kept_in_a_struct_whatever_its_codec() {
    let cache = Cache::embedded();
    let kept = Kept { blocking: parsed_entry(&cache, "7"), on_tokio: doubled_entry(&cache, 4) };
    assert_eq!((parsed(&cache, "7"), doubled(&cache, 4).await), (Ok(Some(7)), Some(8)));
    assert_eq!(kept.blocking.clone().get().unwrap(), Some(7));
    kept.on_tokio.put(&9).await.unwrap();
    assert_eq!(kept.on_tokio.get().await.unwrap(), Some(9));
    assert_eq!(kept.delete().await, (true, true));
    assert_eq!(kept.blocking.info().unwrap(), None);
}

#[memcached(key = "choices:generic:<value:debug>", cache = cache, skip(cache), entry = generic_entry)]
fn generic<T: std::fmt::Debug + Clone + serde::Serialize + serde::de::DeserializeOwned + 'static>(
    cache: &Cache,
    value: &T,
) -> T {
    value.clone()
}

#[test]
fn an_entry_of_a_generic_function_gives_what_that_returns_and_refuses_a_part_of_it() {
    let cache = Cache::embedded();
    generic(&cache, &5_u8);
    assert_eq!(generic_entry(&cache, &5_u8).get().unwrap(), Some(5));
    generic(&cache, &Some(5_u8));
    let error = generic_entry(&cache, &Some(5_u8)).get().unwrap_err();
    assert!(error.to_string().ends_with("generic does not store values of type u8"), "{error}");
}

#[test]
fn sites_are_listed_once_they_are_called() {
    site(1);
    site(2);
    let listed: Vec<_> = memocached::sites().into_iter().filter(|info| info.name == "the site").collect();
    let [info] = &listed[..] else { panic!("one site: {listed:?}") };
    assert_eq!(info.path, "behaviour::behaviour::choices::site");
    assert_eq!((info.template, info.version), ("choices:site:<n>", 7));
    assert_eq!(info.ttl, Some(Duration::from_mins(90).into()));
    assert!(info.file.ends_with("choices.rs") && info.line > 0);
    let knows_twin = || memocached::sites().iter().any(|info| info.path.ends_with("choices::twin"));
    assert!(!knows_twin(), "it has not been called");
    twin(1);
    assert!(knows_twin());
}

trait Rules {
    fn wants(value: &u64) -> bool;
}

/// A type that may be borrowed, and a veto that depends on it.
struct Ruled<T>(std::marker::PhantomData<T>);

impl<T: Rules> Ruled<T> {
    #[memcached(key = "choices:ruled:<n>", skip(self), store_if = T::wants, entry = value_entry)]
    fn value(&self, n: u64) -> u64 {
        n
    }
}

#[test]
fn a_veto_may_be_a_function_of_a_type_parameter() {
    struct Large;

    impl Rules for Large {
        fn wants(value: &u64) -> bool {
            *value > 1
        }
    }

    let ruled = Ruled(std::marker::PhantomData::<Large>);
    assert_eq!((ruled.value(1), ruled.value(2)), (1, 2));
    assert_eq!(ruled.value_entry(1).put(&1).unwrap_err().kind(), ErrorKind::Rejected);
    assert_eq!((ruled.value_entry(1).get().unwrap(), ruled.value_entry(2).get().unwrap()), (None, Some(2)));
}
