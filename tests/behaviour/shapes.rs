//! The attribute fits functions of every shape.

// Whatever a module calls its own, expansions mean the language's.
#![allow(dead_code, reason = "the names are there to be in the way")]

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};

use memocached::testing::{assert_hit, assert_miss, with_cache};
use memocached::{Cache, KeyPart, memcached};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::support::memcached::Memcached;

#[derive(Debug, PartialEq)]
struct NotSerializable;

type Answer<T> = Result<T, NotSerializable>;

#[memcached(key = "shapes:fallible:<n>", ttl = 60, cache = cache, skip(cache, answer))]
fn fallible(cache: &Cache, n: u64, answer: Answer<u64>) -> Answer<u64> {
    let _ = n;
    answer
}

#[test]
fn only_ok_is_stored_also_through_an_alias() {
    let server = Memcached::start();
    let cache = server.cache();
    assert_eq!(fallible(&cache, 1, Err(NotSerializable)), Err(NotSerializable));
    assert_eq!(fallible(&cache, 1, Ok(5)), Ok(5));
    assert_eq!(fallible(&cache, 1, Err(NotSerializable)), Ok(5));
    assert_eq!(server.stat("cmd_set"), 1);
}

#[memcached(key = "shapes:optional:<n>", ttl = 60, skip(answer))]
fn optional(n: u64, answer: Option<u64>) -> Option<u64> {
    let _ = n;
    answer
}

#[test]
fn only_some_is_stored() {
    with_cache(&Cache::embedded(), || {
        assert_eq!(assert_miss!(optional(1, None)), None);
        assert_eq!(assert_miss!(optional(1, Some(5))), Some(5));
        assert_eq!(assert_hit!(optional(1, None)), Some(5));
    });
}

#[memcached(key = "shapes:both:<n>", ttl = 60, skip(answer), entry = both_entry)]
fn both(n: u64, answer: Answer<Option<u64>>) -> Answer<Option<u64>> {
    let _ = n;
    answer
}

#[test]
fn only_ok_some_is_stored() {
    with_cache(&Cache::embedded(), || {
        assert_eq!(assert_miss!(both(1, Ok(None))), Ok(None));
        assert_eq!(assert_miss!(both(1, Err(NotSerializable))), Err(NotSerializable));
        assert_eq!(assert_miss!(both(1, Ok(Some(5)))), Ok(Some(5)));
        assert_eq!(assert_hit!(both(1, Ok(None))), Ok(Some(5)));
        let stored: Option<u64> = both_entry(1).get().unwrap();
        assert_eq!(stored, Some(5));
    });
}

struct Shop {
    tenant: String,
    cache: Cache,
    calls: AtomicU32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Price {
    cents: u64,
    currency: String,
}

struct Item {
    id: u32,
    pair: (u8, String),
}

impl Item {
    fn kind(&self) -> &str {
        &self.pair.1
    }
}

impl Shop {
    #[memcached(key = "shapes:price:<self.tenant>/<item.id>-<item.pair.0>,<item.kind()>", ttl = 60, cache = &self.cache)]
    fn price(&self, item: &Item) -> Price {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Price { cents: u64::from(item.id) * 100, currency: "EUR".into() }
    }

    #[memcached(key = "shapes:async_price:<self.tenant>:<id>", ttl = 60, cache = &self.cache, entry = async_price_entry)]
    async fn async_price(&self, id: u32) -> Answer<Price> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        if id == 0 {
            Err(NotSerializable)?;
        }
        Ok(Price { cents: u64::from(id) * 100, currency: "EUR".into() })
    }
}

fn shop(cache: Cache) -> Shop {
    Shop { tenant: "a:b/c".into(), cache, calls: AtomicU32::new(0) }
}

#[test]
fn methods_have_keys_with_fields_and_calls() {
    let server = Memcached::start();
    let shop = shop(server.cache());
    let item = Item { id: 7, pair: (1, "big one".into()) };
    let first = shop.price(&item);
    assert_eq!(shop.price(&item), first);
    assert_eq!(shop.calls.load(Ordering::Relaxed), 1);
    assert!(server.stored("shapes:price:a%3Ab%2Fc/7-1,big%20one").is_some());
}

#[tokio::test]
async fn async_methods_are_cached() {
    let server = Memcached::start();
    let shop = shop(server.cache());
    let first = shop.async_price(7).await.unwrap();
    assert_eq!(shop.async_price(7).await.unwrap(), first);
    assert_eq!(shop.calls.load(Ordering::Relaxed), 1);
    assert_eq!(shop.async_price(0).await, Err(NotSerializable));
    assert_eq!(shop.async_price_entry(7).get().await.unwrap(), Some(first));
    assert!(shop.async_price_entry(7).delete().await.unwrap());
    assert_eq!(shop.async_price_entry(7).get().await.unwrap(), None);
}

#[test]
fn an_async_cache_survives_its_first_runtime() {
    let server = Memcached::start();
    let shop = shop(server.cache());
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        assert_eq!(runtime.block_on(shop.async_price(7)).unwrap().cents, 700);
    }
    assert_eq!(shop.calls.load(Ordering::Relaxed), 1);
}

#[test]
fn an_async_function_without_a_tokio_runtime_computes() {
    let server = Memcached::start();
    let shop = shop(server.cache());
    let mut call = std::pin::pin!(shop.async_price(7));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let polled = std::iter::from_fn(|| Some(call.as_mut().poll(&mut context))).take(1_000);
    let answer = polled.into_iter().find_map(|polled| match polled {
        std::task::Poll::Ready(answer) => Some(answer),
        std::task::Poll::Pending => None,
    });
    assert_eq!(answer.expect("it computes").unwrap().cents, 700);
}

#[memcached(key = "shapes:generic:<value>", ttl = 60, cache = cache, skip(cache, calls))]
fn generic<T, const N: usize>(cache: &Cache, value: T, calls: &AtomicU32) -> Vec<T>
where
    T: KeyPart + Clone + Serialize + DeserializeOwned,
{
    calls.fetch_add(1, Ordering::Relaxed);
    vec![value; N]
}

#[test]
fn two_instantiations_never_share_an_entry() {
    let (cache, calls) = (Cache::embedded(), AtomicU32::new(0));
    assert_eq!(generic::<u8, 2>(&cache, 1, &calls), [1, 1]);
    assert_eq!(generic::<u8, 3>(&cache, 1, &calls), [1, 1, 1]);
    assert_eq!(generic::<u16, 2>(&cache, 1, &calls), [1, 1]);
    assert_eq!(generic::<String, 1>(&cache, "1".into(), &calls), ["1"]);
    assert_eq!(generic::<u8, 2>(&cache, 1, &calls), [1, 1]);
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

trait Named {
    fn of(&self) -> u32;

    #[memcached(cache = cache, skip(self, cache, calls))]
    fn doubled(&self, cache: &Cache, n: u32, calls: &AtomicU32) -> u32 {
        calls.fetch_add(1, Ordering::Relaxed);
        self.of() * n
    }
}

struct One;
struct Two;

impl Named for One {
    fn of(&self) -> u32 {
        1
    }
}

impl Named for Two {
    fn of(&self) -> u32 {
        2
    }
}

#[test]
fn without_a_key_one_default_method_of_two_types_has_two_entries() {
    let (cache, calls) = (Cache::embedded(), AtomicU32::new(0));
    for _ in 0..2 {
        assert_eq!(One.doubled(&cache, 10, &calls), 10);
        assert_eq!(Two.doubled(&cache, 10, &calls), 20);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

struct Unclonable(Vec<u8>);

#[memcached(key = "shapes:moved:<length>:<left>:<right>", ttl = 60, cache = &cache, skip(cache, unclonable, total))]
fn moved(
    cache: Cache,
    mut length: usize,
    unclonable: Unclonable,
    (left, right): (u8, u8),
    _unused: &str,
    total: &mut usize,
) -> usize {
    length += unclonable.0.len() + usize::from(left) + usize::from(right);
    drop((cache, unclonable));
    *total += length;
    length
}

#[test]
fn arguments_move_into_the_body() {
    let (cache, mut total) = (Cache::embedded(), 0);
    for _ in 0..2 {
        assert_eq!(moved(cache.clone(), 1, Unclonable(vec![0; 10]), (2, 3), "", &mut total), 16);
    }
    assert_eq!(total, 16);
}

mod in_the_way {
    //! Names of the prelude and of the crate, taken.

    struct Option;
    struct Result;
    struct String;
    struct Some;
    struct Ok;
    mod std {}
    mod core {}
    mod memocached {}

    #[::memocached::memcached(key = "shapes:shadowed:<key>:<cache>:<span>", ttl = 60)]
    pub(super) fn shadowed(key: u8, cache: u8, span: u8) -> ::std::result::Result<u8, ()> {
        let call = 1;
        ::std::result::Result::Ok(key + cache + span + call)
    }
}

mod methods_in_the_way {
    //! Methods that every type has, by the names of the expansion's own.

    trait Everything {
        fn shape(&self) {}
        fn run(&self) {}
        fn key(&self) {}
    }

    impl<T> Everything for T {}

    #[memocached::memcached(key = "shapes:methods:<n>")]
    pub(super) fn of(n: u8) -> Option<u8> {
        n.shape();
        n.run();
        n.key();
        Some(n)
    }
}

#[test]
fn methods_of_every_type_do_not_reach_the_expansion() {
    assert_eq!((methods_in_the_way::of(1), methods_in_the_way::of(1)), (Some(1), Some(1)));
}

#[test]
fn shadowed_names_do_not_reach_the_expansion() {
    assert_eq!(in_the_way::shadowed(1, 2, 3), Ok(7));
    assert_eq!(in_the_way::shadowed(1, 2, 3), Ok(7));
}

#[tokio::test]
async fn expansions_need_nothing_in_scope() {
    use super::without_prelude::{Size, later, of, of_entry};
    for _ in 0..2 {
        assert_eq!(of::<&str, 3>(Size::Large { by: 2 }, 3, "x"), 6);
        assert_eq!(later("a", 0.5, None).await.as_deref(), Some("a"));
    }
    assert_eq!(of_entry::<&str, 3>(Size::Large { by: 2 }, 3, "x").get().unwrap(), Some(6));
    assert_eq!(of_entry::<&str, 3>(Size::Small, 3, "x").get().unwrap(), None);
}

#[memcached(key = "shapes:floats:<a:bits>:<b:debug>:<c:display>:<d:hash>", ttl = 60, cache = cache, skip(cache), entry = formats_entry)]
fn formats(cache: &Cache, a: f64, b: Vec<u8>, c: &str, d: (u8, &str)) -> (f64, usize) {
    (a * 2.0, b.len() + c.len() + d.1.len())
}

#[test]
fn formats_write_what_has_no_key_part() {
    let cache = Cache::embedded();
    assert_eq!(formats(&cache, 0.5, vec![1, 2], "x y", (1, "z")), (1.0, 6));
    let entry = formats_entry(&cache, 0.5, vec![1, 2], "x y", (1, "z"));
    assert!(entry.key().starts_with("shapes:floats:3FE0000000000000:%5B1%2C%202%5D:x%20y:"), "{}", entry.key());
    assert_eq!(formats(&cache, -0.5, vec![1, 2], "x y", (1, "z")), (-1.0, 6));
}

/// A body whose error must stay on its thread has a future that need not.
#[memcached(key = "shapes:send:<n>", ttl = 60)]
async fn fails_with_a_local_error(n: u64) -> Result<u64, Box<dyn std::error::Error>> {
    tokio::task::yield_now().await;
    Ok(n)
}

#[memcached(key = "shapes:borrows:<name>", ttl = 60)]
async fn borrows(name: &str) -> String {
    tokio::task::yield_now().await;
    name.to_uppercase()
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn futures_of_send_bodies_are_send() {
    assert_eq!(assert_send(borrows("fib")).await, "FIB");
    let spawned = tokio::spawn(async { assert_send(fails_with_a_local_error(3)).await.unwrap_or_default() });
    assert_eq!(spawned.await.unwrap(), 3);
    let pointer: fn(u64, Option<u64>) -> Option<u64> = optional;
    assert_eq!(with_cache(&Cache::embedded(), || pointer(1, Some(2))), Some(2));
}

/// The names of what finds a shape are a user's to have.
mod named {
    use memocached::memcached;
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Probe(pub(super) u64);
    pub(super) type Shaped = Option<Probe>;
    pub(super) type ProbePlain = Result<Sharing, String>;
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Sharing(pub(super) u64);

    #[memcached(key = "shapes:named:probe:<n>", ttl = 60, near = 60)]
    pub(super) fn probe(n: u64) -> Probe {
        Probe(n)
    }

    #[memcached(key = "shapes:named:shaped:<n>", ttl = 60, near = 60)]
    pub(super) fn shaped(n: u64) -> Shaped {
        Some(Probe(n))
    }

    #[memcached(key = "shapes:named:sharing:<n>", ttl = 60, near = 60)]
    pub(super) fn sharing(n: u64) -> ProbePlain {
        Ok(Sharing(n))
    }
}

#[test]
fn a_type_may_have_the_name_of_what_finds_its_shape() {
    with_cache(&Cache::embedded(), || {
        for _ in 0..2 {
            assert_eq!(named::probe(1), named::Probe(1));
            assert_eq!(named::shaped(2), Some(named::Probe(2)));
            assert_eq!(named::sharing(3), Ok(named::Sharing(3)));
        }
    });
}
