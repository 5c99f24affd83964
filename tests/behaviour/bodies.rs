//! A body does what it would do without the attribute.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use async_trait::async_trait;
use memocached::{Cache, memcached};
use serde::{Deserialize, Serialize};
use tracing::Instrument;

#[memcached(key = "bodies:control:<n>")]
fn control(n: i32) -> Result<i32, std::num::ParseIntError> {
    fn helper(text: &str) -> Result<i32, std::num::ParseIntError> {
        text.parse()
    }
    let doubled = |x: i32| {
        if x < 0 {
            return 0;
        }
        x * 2
    };
    if n == 0 {
        return Ok(-1);
    }
    let found = 'outer: loop {
        for i in 0.. {
            if i * i >= n {
                break 'outer i;
            }
        }
    };
    let parsed = helper(if n == 13 { "thirteen" } else { "5" })?;
    Ok(doubled(found) + parsed)
}

#[test]
fn a_body_may_return_early_fail_and_leave_labelled_loops() {
    for _ in 0..2 {
        assert_eq!(control(0), Ok(-1));
        assert_eq!(control(10), Ok(13));
        assert!(control(13).is_err());
    }
}

#[memcached(key = "bodies:async_control:<n>")]
async fn async_control(n: i32) -> Result<Option<String>, Box<dyn std::error::Error + Send + Sync>> {
    let inner = async {
        if n > 5 {
            return Err("too many");
        }
        Ok(n)
    };
    let n = inner.await?;
    if n == 0 {
        return Ok(None);
    }
    tokio::task::yield_now().await;
    Ok(Some(n.to_string().parse::<i32>()?.to_string()))
}

#[tokio::test]
async fn an_async_body_may_return_early_and_fail_within_a_block() {
    for _ in 0..2 {
        assert_eq!(async_control(3).await.unwrap(), Some("3".into()));
        assert_eq!(async_control(0).await.unwrap(), None);
        assert_eq!(async_control(9).await.unwrap_err().to_string(), "too many");
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Unclonable(String);

macro_rules! comes_back {
    ($($name:ident: $type:ty = $value:expr;)*) => {$(
        #[test]
        fn $name() {
            let computed = std::cell::Cell::new(0);
            #[memcached(key = "bodies:value", cache = cache, skip(cache, computed))]
            fn compute(cache: &Cache, computed: &std::cell::Cell<u32>) -> $type {
                computed.set(computed.get() + 1);
                $value
            }
            let cache = Cache::embedded();
            assert_eq!(compute(&cache, &computed), compute(&cache, &computed));
            assert_eq!(computed.get(), 1);
        }
    )*};
}

comes_back! {
    a_vector_comes_back: Vec<u8> = vec![1, 2, 3];
    an_empty_vector_comes_back: Vec<String> = Vec::new();
    a_map_comes_back: HashMap<String, Vec<u8>> = HashMap::from([("a".into(), vec![1]), ("b".into(), vec![])]);
    a_tuple_comes_back: (u8, String, [i64; 3]) = (1, "two".into(), [3, -4, 5]);
    a_unit_struct_comes_back: Unit = Unit;
    an_unclonable_struct_comes_back: Unclonable = Unclonable("once".into());
    a_nested_option_comes_back: Option<Option<u8>> = Some(None);
    a_shared_string_comes_back: Arc<String> = Arc::new("shared".into());
    a_boxed_slice_comes_back: Box<[u16]> = Box::new([1, 2]);
    a_cow_comes_back: std::borrow::Cow<'static, str> = "text".into();
    a_result_of_an_option_comes_back: Result<Option<u8>, String> = Ok(Some(1));
    a_large_vector_comes_back: Vec<u8> = vec![0; 100_000];
}

mod own {
    //! Results and options by other names.

    pub(super) type Result<T> = std::result::Result<T, Failure>;
    pub(super) type Maybe<T> = Option<T>;

    /// Neither `Serialize` nor `Clone`.
    #[derive(Debug, PartialEq)]
    pub(super) struct Failure(pub(super) &'static str);
}

#[memcached(key = "bodies:own:<n>", cache = cache, skip(cache))]
fn own_result(cache: &Cache, n: u8) -> own::Result<own::Maybe<u8>> {
    match n {
        0 => Err(own::Failure("zero")),
        1 => Ok(None),
        n => Ok(Some(n)),
    }
}

#[test]
fn aliases_of_result_and_option_are_what_they_stand_for() {
    let cache = Cache::embedded();
    for _ in 0..2 {
        assert_eq!(own_result(&cache, 0), Err(own::Failure("zero")));
        assert_eq!(own_result(&cache, 1), Ok(None));
        assert_eq!(own_result(&cache, 2), Ok(Some(2)));
    }
}

trait Prices {
    async fn native(&self, n: u8) -> u8;
}

#[async_trait]
trait Boxed {
    async fn boxed(&self, n: u8, _unused: &str) -> Result<u8, String>;

    #[memcached(key = "bodies:default:<n>", skip(self))]
    async fn with_default(&self, n: u8) -> u8 {
        tokio::task::yield_now().await;
        n + 3
    }
}

struct Shop {
    id: u8,
}

impl Prices for Shop {
    #[memcached(key = "bodies:native:<self.id>:<n>")]
    async fn native(&self, n: u8) -> u8 {
        tokio::task::yield_now().await;
        n + 1
    }
}

#[async_trait]
impl Boxed for Shop {
    /// Both attributes in any order around documentation.
    #[memcached(key = "bodies:boxed:<self.id>:<n>")]
    async fn boxed(&self, n: u8, _unused: &str) -> Result<u8, String> {
        if n == 0 {
            return Err("zero".into());
        }
        tokio::task::yield_now().await;
        let one: u8 = "1".parse().map_err(|error: std::num::ParseIntError| error.to_string())?;
        Ok(n + one + self.id)
    }
}

#[memcached(key = "bodies:future:<n>")]
fn future(n: u8) -> impl Future<Output = Option<u8>> + Send {
    if n > 100 {
        println!("many");
    }
    async move { n.checked_add(1) }
}

#[memcached(key = "bodies:boxed_future:<text>")]
fn boxed_future<'a>(text: &'a str) -> std::pin::Pin<Box<dyn Future<Output = usize> + Send + 'a>> {
    Box::pin(async move { text.len() })
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[tokio::test]
async fn every_kind_of_async_function_gives_its_value() {
    let shop = Shop { id: 1 };
    for _ in 0..2 {
        assert_eq!(assert_send(shop.native(1)).await, 2);
        assert_eq!(assert_send(shop.boxed(1, "")).await, Ok(3));
        assert_eq!(shop.boxed(0, "").await, Err("zero".into()));
        assert_eq!(assert_send(shop.with_default(1)).await, 4);
        assert_eq!(assert_send(future(1)).await, Some(2));
        assert_eq!(assert_send(boxed_future("abc")).await, 3);
        assert_eq!(elsewhere::length("abcd").await, 4);
    }
}

#[tokio::test]
async fn a_call_begins_when_its_future_is_polled() {
    let recording = crate::support::recording::Recording::begin();
    drop((future(77), boxed_future("never polled"), local(77)));
    assert_eq!(recording.spans().tree(), "");
    future(77).await;
    assert!(recording.spans().tree().starts_with("future\n"), "{}", recording.spans().tree());
}

/// A body that must stay on its thread.
#[memcached(key = "bodies:local:<n>")]
async fn local(n: u8) -> usize {
    let shared = Rc::new(RefCell::new(Vec::new()));
    shared.borrow_mut().push(n);
    tokio::task::yield_now().await;
    shared.borrow().len()
}

#[tokio::test(flavor = "current_thread")]
async fn a_body_may_have_to_stay_on_its_thread() {
    assert_eq!((local(1).await, local(1).await), (1, 1));
}

#[tracing::instrument]
#[memcached(key = "bodies:instrumented_above:<n>", skip(_trace))]
#[must_use]
fn instrumented_above(n: u8, _trace: &str) -> u8 {
    tracing::info!("inside");
    n
}

#[memcached(key = "bodies:instrumented_below:<n>")]
#[tracing::instrument(skip(n))]
async fn instrumented_below(n: u8) -> u8 {
    async { n }.instrument(tracing::info_span!("inside")).await
}

#[tokio::test]
async fn attributes_of_others_keep_working() {
    let recording = crate::support::recording::Recording::begin();
    for _ in 0..2 {
        assert_eq!(instrumented_above(1, "trace"), 1);
        assert_eq!(instrumented_below(1).await, 1);
    }
    let tree = recording.spans().tree();
    // What an attribute above expands to is the body, and so within the
    // computation; what stands below goes around the rewritten function.
    assert!(tree.contains("  compute\n    instrumented_above\n"), "{tree}");
    assert_eq!(tree.matches("instrumented_above").count(), 3, "{tree}");
    assert!(tree.contains("instrumented_below\n  instrumented_below\n    serialize-key\n"), "{tree}");
    assert_eq!(tree.matches("instrumented_below").count(), 4, "{tree}");
    assert_eq!(tree.matches("inside").count(), 1, "{tree}");
}

#[test]
fn a_crate_of_another_edition_may_know_memocached_by_another_name() {
    let shop = elsewhere::Shop { tenant: "a".into(), cache: Cache::embedded() };
    assert_eq!(shop.price("x", 0.1, false).unwrap().cents, 100);
    assert_eq!(shop.price("x", 0.1, true).unwrap().cents, 100, "a hit, since urgency is not in the key");
    assert_eq!(shop.price("y", 0.1, true).unwrap().cents, 0);
    assert_eq!(shop.price("y", 0.1, false).unwrap().cents, 100, "nothing was stored, by `store_if`");
    let entry = shop.price_entry("x", 0.1, true);
    assert_eq!(entry.key(), "price:a/x;<3FB999999999999A");
    assert_eq!(entry.get().unwrap(), Some(elsewhere::Price { cents: 100 }));
    assert_eq!(elsewhere::double(21), 42);
    assert_eq!(elsewhere::joined(vec!["b".into()], ('a', 'c')), "abc");
    let shared: Arc<dyn Fn(u64) -> u64 + Send + Sync> = Arc::new(elsewhere::double);
    assert_eq!(shared(21), 42);
}
