//! Values in an `Arc` are decoded once for all near hits.

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use memocached::{Cache, Codec, Error, Mode, group, memcached, with_mode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use crate::support::memcached::Memcached;

/// A number that counts how often it is decoded.
#[derive(Debug, PartialEq, Serialize)]
struct Counted(u64);

static DECODED: AtomicU32 = AtomicU32::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        if number == 1_000_007 {
            DECODED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Counted(number))
    }
}

/// Two results of near hits; the call before them may look the value up.
fn two_hits<T>(call: impl Fn() -> T) -> [T; 2] {
    call();
    [call(), call()]
}

macro_rules! are_one {
    ($hits:expr) => {{
        let [first, second] = $hits;
        Arc::ptr_eq(&first, &second)
    }};
}

#[memcached(key = "arcs:counted:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
fn counted(cache: &Cache, n: u64) -> Arc<Counted> {
    Arc::new(Counted(n))
}

#[test]
fn near_hits_decode_a_value_once() {
    let server = Memcached::start();
    let cache = server.cache();
    let computed = counted(&cache, 1_000_007);
    let before = DECODED.load(Ordering::Relaxed);
    let hits: Vec<_> = (0..100).map(|_| counted(&cache, 1_000_007)).collect();
    assert_eq!(DECODED.load(Ordering::Relaxed), before + 1);
    assert!(hits.iter().all(|hit| Arc::ptr_eq(hit, &hits[0]) && *hit == computed));
    // Another process looks it up.
    let other = server.cache();
    let found = counted(&other, 1_000_007);
    let [first, second] = [(); 2].map(|()| counted(&other, 1_000_007));
    assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &hits[0]) && found == computed);
    assert_eq!(DECODED.load(Ordering::Relaxed), before + 3);
}

#[test]
fn threads_share_one_value() {
    let cache = Cache::embedded();
    counted(&cache, 2);
    let all: Vec<_> = std::thread::scope(|threads| {
        let hits: Vec<_> = (0..8).map(|_| threads.spawn(|| [(); 100].map(|()| counted(&cache, 2)))).collect();
        hits.into_iter().flat_map(|hits| hits.join().unwrap()).collect()
    });
    assert!(all.iter().all(|hit| Arc::ptr_eq(hit, &all[0])));
}

#[derive(Debug, PartialEq)]
struct Failure;

type Answer<T> = Result<T, Failure>;

#[memcached(key = "arcs:text:<n>", ttl = 60, near = 60, cache = cache, skip(cache), entry = text_entry)]
fn text(cache: &Cache, n: u64) -> Arc<str> {
    n.to_string().into()
}

#[memcached(key = "arcs:bytes:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
fn bytes(cache: &Cache, n: u8) -> Arc<[u8]> {
    [n; 9].into()
}

#[memcached(key = "arcs:some:<n>", ttl = 60, near = 60, cache_none = 60, cache = cache, skip(cache))]
fn some(cache: &Cache, n: u64) -> Option<Arc<Vec<u64>>> {
    (n > 0).then(|| Arc::new(vec![n; 9]))
}

#[memcached(key = "arcs:ok:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
fn ok(cache: &Cache, n: u64) -> Answer<Arc<String>> {
    if n > 0 { Ok(Arc::new(n.to_string())) } else { Err(Failure) }
}

#[memcached(key = "arcs:boxed:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
fn ok_or_boxed(cache: &Cache, n: u64) -> Result<Arc<String>, Box<dyn std::error::Error>> {
    Ok(Arc::new(n.to_string()))
}

#[memcached(key = "arcs:ok_some:<n>", ttl = 60, near = 60, cache_none = 60, cache = cache, skip(cache))]
fn ok_some(cache: &Cache, n: u64) -> Answer<Option<Arc<Counted>>> {
    Ok((n > 0).then(|| Arc::new(Counted(n))))
}

#[test]
fn each_shape_of_return_type_shares_its_value() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        assert!(are_one!(two_hits(|| text(&cache, 1))) && &*text(&cache, 1) == "1");
        assert!(are_one!(two_hits(|| bytes(&cache, 1))) && *bytes(&cache, 1) == [1; 9]);
        assert!(are_one!(two_hits(|| some(&cache, 1).unwrap())) && *some(&cache, 1).unwrap() == [1; 9]);
        assert!(are_one!(two_hits(|| ok(&cache, 1).unwrap())) && *ok(&cache, 1).unwrap() == "1");
        assert!(are_one!(two_hits(|| ok_or_boxed(&cache, 1).unwrap())));
        assert!(are_one!(two_hits(|| ok_some(&cache, 1).unwrap().unwrap())));
        assert_eq!((some(&cache, 0), ok(&cache, 0), ok_some(&cache, 0)), (None, Err(Failure), Ok(None)));
        assert_eq!((some(&cache, 0), ok(&cache, 0), ok_some(&cache, 0)), (None, Err(Failure), Ok(None)));
    }
}

#[memcached(key = "arcs:awaited:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
async fn awaited(cache: &Cache, n: u64) -> Arc<str> {
    n.to_string().into()
}

#[memcached(key = "arcs:awaited_ok:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
async fn awaited_ok(cache: &Cache, n: u64) -> Answer<Arc<str>> {
    Ok(n.to_string().into())
}

#[memcached(key = "arcs:awaited_some:<n>", ttl = 60, near = 60, grace = 60, cache = &cache, skip(cache))]
async fn awaited_some(cache: Cache, n: u64) -> Option<Arc<str>> {
    Some(n.to_string().into())
}

#[memcached(key = "arcs:awaited_ok_some:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
async fn awaited_ok_some(cache: &Cache, n: u64) -> Answer<Option<Arc<str>>> {
    Ok(Some(n.to_string().into()))
}

#[memcached(key = "arcs:future:<n>", ttl = 60, near = 60, cache = &cache, skip(cache))]
fn future(cache: Cache, n: u64) -> impl Future<Output = Arc<str>> {
    async move { n.to_string().into() }
}

#[memcached(key = "arcs:boxed_future:<n>", ttl = 60, near = 60, cache = &cache, skip(cache))]
fn boxed_future(cache: Cache, n: u64) -> Pin<Box<dyn Future<Output = Arc<str>> + Send>> {
    Box::pin(async move { n.to_string().into() })
}

#[tokio::test]
async fn each_async_function_shares_its_value() {
    macro_rules! are_one_awaited {
        (|$cache:ident| $call:expr) => {{
            for $cache in [&Memcached::start().cache(), &Cache::embedded()] {
                $call;
                assert!(are_one!([$call, $call]));
            }
        }};
    }
    are_one_awaited!(|cache| awaited(cache, 1).await);
    are_one_awaited!(|cache| awaited_ok(cache, 1).await.unwrap());
    are_one_awaited!(|cache| awaited_some(cache.clone(), 1).await.unwrap());
    are_one_awaited!(|cache| awaited_ok_some(cache, 1).await.unwrap().unwrap());
    are_one_awaited!(|cache| future(cache.clone(), 1).await);
    are_one_awaited!(|cache| boxed_future(cache.clone(), 1).await);
}

#[memcached(key = "arcs:text:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
async fn text_awaited(cache: &Cache, n: u64) -> Arc<str> {
    n.to_string().into()
}

#[tokio::test]
async fn functions_with_one_key_and_one_type_share_a_value() {
    let cache = Cache::embedded();
    let [first, second] = two_hits(|| text(&cache, 1));
    let awaited = text_awaited(&cache, 1).await;
    assert!(Arc::ptr_eq(&first, &second) && Arc::ptr_eq(&first, &awaited));
}

#[memcached(key = "arcs:changes:<n>", ttl = 60, near = 60, cache = cache, skip(cache, runs), entry = changing_entry)]
fn changing(cache: &Cache, n: u64, runs: &AtomicU32) -> Arc<u32> {
    let _ = n;
    Arc::new(runs.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn a_change_by_this_process_shows_at_once() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let runs = AtomicU32::new(0);
        let hit = || {
            let [first, second] = two_hits(|| changing(&cache, 1, &runs));
            assert!(Arc::ptr_eq(&first, &second));
            *first
        };
        assert_eq!(hit(), 0);
        changing_entry(&cache, 1).delete().unwrap();
        assert_eq!(hit(), 1);
        changing_entry(&cache, 1).put(&Arc::new(70)).unwrap();
        assert_eq!(hit(), 70);
        changing_entry(&cache, 1).invalidate().unwrap();
        assert_eq!(hit(), 2);
        with_mode(Mode::Refresh, || changing(&cache, 1, &runs));
        assert_eq!(hit(), 3);
        assert_eq!(*with_mode(Mode::Bypass, || changing(&cache, 1, &runs)), 4);
        assert_eq!(hit(), 3);
    }
}

group! {
    fn team(id: u64) = "arcs:team:<id>";
}

#[memcached(
    key = "arcs:member:<n>", ttl = 60, near = 60, cache = cache, skip(cache, runs), group = team(n)
)]
fn member(cache: &Cache, n: u64, runs: &AtomicU32) -> Arc<u32> {
    Arc::new(runs.fetch_add(1, Ordering::Relaxed))
}

#[test]
fn a_value_in_a_group_is_shared_until_that_is_invalidated() {
    let server = Memcached::start();
    let (cache, runs) = (server.cache(), AtomicU32::new(0));
    let [first, second] = two_hits(|| member(&cache, 1, &runs));
    assert!(Arc::ptr_eq(&first, &second) && *first == 0);
    team(1).of_cache(&cache).invalidate().unwrap();
    let [third, fourth] = two_hits(|| member(&cache, 1, &runs));
    assert!(Arc::ptr_eq(&third, &fourth) && *third == 1);
}

#[memcached(key = "arcs:large:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
fn large(cache: &Cache, n: u8) -> Arc<[u8]> {
    vec![n; 40_000].into()
}

#[memcached(key = "arcs:bare:<n>", ttl = 60, near = 60, codec = bare_json, cache = cache, skip(cache))]
fn bare(cache: &Cache, n: u8) -> Arc<[u8]> {
    vec![n; 9].into()
}

#[test]
fn compressed_signed_and_bare_values_are_shared() {
    let server = Memcached::start();
    let servers = || Cache::builder().servers(server.address());
    let caches = [
        servers().compress(1_000).namespace("compressed"),
        servers().auth_key("a key of at least thirty-two bytes, for tests").namespace("signed"),
    ];
    for cache in caches.map(|cache| cache.build().unwrap()) {
        assert!(are_one!(two_hits(|| large(&cache, 1))) && *large(&cache, 1) == [1; 40_000]);
        assert!(are_one!(two_hits(|| bare(&cache, 1))) && *bare(&cache, 1) == [1; 9]);
    }
}

mod with_one_key {
    use super::*;

    #[memcached(key = "arcs:one:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
    pub(super) fn string(cache: &Cache, n: u64) -> Arc<String> {
        Arc::new(format!("string {n}"))
    }

    #[memcached(key = "arcs:one:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
    pub(super) fn text(cache: &Cache, n: u64) -> Arc<str> {
        format!("text {n}").into()
    }

    #[memcached(key = "arcs:one:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
    pub(super) fn plain(cache: &Cache, n: u64) -> String {
        format!("plain {n}")
    }

    #[memcached(key = "arcs:one:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
    pub(super) fn number(cache: &Cache, n: u64) -> Arc<u64> {
        Arc::new(n)
    }

    #[memcached(key = "arcs:one:<n>", ttl = 60, near = 60, version = 2, cache = cache, skip(cache))]
    pub(super) fn later(cache: &Cache, n: u64) -> Arc<String> {
        Arc::new(format!("later {n}"))
    }

    /// Two codecs with the same number.
    #[derive(Clone, Copy)]
    pub(super) struct Red;
    #[derive(Clone, Copy)]
    pub(super) struct Blue;

    macro_rules! color {
        ($codec:ident) => {
            impl Codec<Arc<String>> for $codec {
                fn id(&self) -> u8 {
                    64
                }

                fn encode(&self, value: &Arc<String>, out: &mut Vec<u8>) -> Result<(), Error> {
                    out.extend(value.as_bytes());
                    Ok(())
                }

                fn decode(&self, bytes: &[u8]) -> Result<Arc<String>, Error> {
                    String::from_utf8(bytes.to_vec()).map(Arc::new).map_err(Error::decode)
                }
            }
        };
    }

    color!(Red);
    color!(Blue);

    #[memcached(key = "arcs:color:<n>", ttl = 60, near = 60, codec = Red, cache = cache, skip(cache))]
    pub(super) fn red(cache: &Cache, n: u64) -> Arc<String> {
        Arc::new(format!("red {n}"))
    }

    #[memcached(key = "arcs:color:<n>", ttl = 60, near = 60, codec = Blue, cache = cache, skip(cache))]
    pub(super) fn blue(cache: &Cache, n: u64) -> Arc<String> {
        Arc::new(format!("blue {n}"))
    }
}

#[test]
fn functions_with_one_key_and_several_types_get_values_of_their_own() {
    use with_one_key::{later, number, plain, string, text};
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let [shared, _] = two_hits(|| string(&cache, 1));
        for _ in 0..3 {
            // These three have one structure.
            assert_eq!(
                (&**string(&cache, 1), &*text(&cache, 1), &*plain(&cache, 1)),
                ("string 1", "string 1", "string 1")
            );
            assert_eq!((*number(&cache, 1), &**later(&cache, 1)), (1, "later 1"));
        }
        assert!(Arc::ptr_eq(&shared, &string(&cache, 1)));
    }
}

#[test]
fn functions_with_one_key_and_several_codecs_decode_for_themselves() {
    use with_one_key::{blue, red};
    let cache = Cache::embedded();
    red(&cache, 1);
    let (reds, blues) = ([(); 3].map(|()| red(&cache, 1)), [(); 3].map(|()| blue(&cache, 1)));
    assert!(reds.iter().all(|red| Arc::ptr_eq(red, &reds[0])));
    assert!(blues.iter().all(|blue| !Arc::ptr_eq(blue, &reds[0])));
}

#[memcached(key = "arcs:each:<id>", ttl = 60, near = 60, each(id in ids), cache = cache, skip(cache))]
fn each(cache: &Cache, ids: &[u64]) -> Vec<Arc<str>> {
    ids.iter().map(|id| id.to_string().into()).collect()
}

#[memcached(key = "arcs:each_some:<id>", ttl = 60, near = 60, each(id in ids), cache = cache, skip(cache))]
async fn each_some(cache: &Cache, ids: &[u64]) -> Answer<Vec<Option<Arc<u64>>>> {
    Ok(ids.iter().map(|id| Some(Arc::new(*id))).collect())
}

#[tokio::test]
async fn the_elements_of_a_batch_are_shared() {
    let server = Memcached::start();
    let cache = server.cache();
    each(&cache, &[1, 2]);
    let first = each(&cache, &[1, 2]);
    let second = each(&cache, &[2, 1, 3]);
    assert!(Arc::ptr_eq(&first[0], &second[1]) && Arc::ptr_eq(&first[1], &second[0]));
    each_some(&cache, &[1]).await.unwrap();
    let [first, second] = [each_some(&cache, &[1]).await.unwrap(), each_some(&cache, &[1, 2]).await.unwrap()];
    assert!(Arc::ptr_eq(first[0].as_ref().unwrap(), second[0].as_ref().unwrap()));
}

#[memcached(key = "arcs:other:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
fn other(cache: &Cache, n: u64) -> Vec<Arc<u64>> {
    vec![Arc::new(n)]
}

#[test]
fn values_of_other_types_are_decoded_for_each_hit() {
    let cache = Cache::embedded();
    let [first, second] = two_hits(|| other(&cache, 1));
    assert!(!Arc::ptr_eq(&first[0], &second[0]) && first == second);
}

/// Borrows, and is `Sync`.
#[derive(Serialize, Deserialize)]
struct Name<'a>(#[serde(bound = "")] Cow<'a, str>);

type Hidden<'a> = Arc<Mutex<Name<'a>>>;

#[memcached(key = "arcs:hidden:<name>", ttl = 60, near = 60, cache = cache, skip(cache))]
#[allow(mismatched_lifetime_syntaxes, reason = "that is what is tried")]
fn hidden<'a>(cache: &'a Cache, name: &str) -> Arc<Mutex<Name<'a>>> {
    let _ = cache;
    Arc::new(Mutex::new(Name(name.to_owned().into())))
}

struct Words<'a, T>(&'a str, T);

impl<'a, T: Serialize + DeserializeOwned + Clone + Send + Sync> Words<'a, T> {
    #[memcached(key = "arcs:word:<self.0>", ttl = 60, near = 60, cache = cache, skip(cache))]
    #[allow(mismatched_lifetime_syntaxes, reason = "that is what is tried")]
    fn first(&self, cache: &Cache) -> Hidden {
        Arc::new(Mutex::new(Name(self.0.split(' ').next().unwrap_or_default().into())))
    }

    #[memcached(key = "arcs:second:<self.0>", ttl = 60, near = 60, cache = cache, skip(cache))]
    fn second(&self, cache: &Cache) -> Result<Arc<T>, Arc<Cow<'a, str>>> {
        Ok(Arc::new(self.1.clone()))
    }

    #[memcached(key = "arcs:third:<self.0>", ttl = 60, near = 60, cache = cache, skip(cache))]
    async fn third(&self, cache: &Cache) -> Option<Arc<Vec<T>>> {
        Some(Arc::new(vec![self.1.clone()]))
    }
}

#[memcached(key = "arcs:generic:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
fn generic<T: Serialize + DeserializeOwned + From<u8>>(cache: &Cache, n: u8) -> Arc<T> {
    Arc::new(T::from(n))
}

/// Is not `Sync`.
#[memcached(key = "arcs:cell:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
#[allow(clippy::arc_with_non_send_sync, reason = "that is what is tried")]
fn cell(cache: &Cache, n: u8) -> Arc<std::cell::Cell<u8>> {
    Arc::new(n.into())
}

#[tokio::test]
async fn values_that_cannot_be_shared_are_decoded_for_each_hit() {
    let cache = Cache::embedded();
    let name = String::from("Ada Lovelace");
    let read = |hit: &Hidden<'_>| hit.lock().unwrap().0.to_string();
    let words = Words(&name, 7_u8);
    let [first, second] = two_hits(|| hidden(&cache, &name));
    assert!(!Arc::ptr_eq(&first, &second) && read(&first) == name && read(&second) == name);
    let [first, second] = two_hits(|| words.first(&cache));
    assert!(!Arc::ptr_eq(&first, &second) && read(&first) == "Ada" && read(&second) == "Ada");
    let [first, second] = two_hits(|| words.second(&cache));
    assert_eq!((first.unwrap(), second.unwrap()), (Arc::new(7), Arc::new(7)));
    words.third(&cache).await;
    assert_eq!(words.third(&cache).await, Some(Arc::new(vec![7])));
    assert_eq!(*two_hits(|| generic::<u64>(&cache, 1))[1], 1);
    let [first, second] = two_hits(|| cell(&cache, 1));
    first.set(2);
    assert_eq!((second.get(), cell(&cache, 1).get()), (1, 1));
}

#[memcached(key = "arcs:mutex:<n>", ttl = 60, near = 60, cache = cache, skip(cache))]
fn mutex(cache: &Cache, n: u64) -> Arc<Mutex<u64>> {
    Arc::new(Mutex::new(n))
}

#[test]
fn what_a_caller_changes_in_a_shared_value_shows_in_others_until_it_is_over() {
    let cache = Cache::embedded();
    let [first, second] = two_hits(|| mutex(&cache, 1));
    *first.lock().unwrap() = 2;
    assert_eq!(*second.lock().unwrap(), 2);
    assert_eq!(*mutex(&cache, 1).lock().unwrap(), 2);
}
