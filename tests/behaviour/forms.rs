//! A function that names no codec stores what its type can be stored as: compact
//! bytes, or JSON where the type must ask the format what comes next.

use std::cell::Cell;
use std::collections::BTreeMap;

use memocached::{Cache, memcached};
use opentelemetry::KeyValue;
use opentelemetry_sdk::trace::SpanData;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::memcached::Memcached;
use crate::support::recording::Recording;

thread_local! {
    /// How often this thread, and so this test, has computed.
    static COMPUTED: Cell<u32> = const { Cell::new(0) };
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flattened {
    id: u32,
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Circle { radius: u32 },
    Square { side: u32 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u64),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Skipping {
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
    offset: u32,
    ids: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nested {
    extra: Option<Value>,
    score: f64,
}

/// The codec's number in the envelope of a stored value.
const BINCODE: u8 = 1;
const JSON: u8 = 3;

macro_rules! stored {
    ($($name:ident: $type:ty = [$($value:expr => $codec:expr),* $(,)?];)*) => {$(
        #[test]
        fn $name() {
            #[allow(clippy::ptr_arg, reason = "one of the types is a vector")]
            #[memcached(key = "form:<n>", ttl = 60, cache = cache, skip(cache, value))]
            fn function(cache: &Cache, value: &$type, n: usize) -> $type {
                COMPUTED.set(COMPUTED.get() + 1);
                value.clone()
            }
            let server = Memcached::start();
            let cache = server.cache();
            let values: Vec<($type, u8)> = vec![$(($value, $codec)),*];
            for (n, (value, codec)) in values.iter().enumerate() {
                let before = COMPUTED.get();
                assert_eq!(function(&cache, value, n), *value);
                assert_eq!(function(&cache, value, n), *value);
                assert_eq!(COMPUTED.get(), before + 1, "{value:?} was computed once");
                let stored = server.stored(&format!("form:{n}")).expect("stored");
                assert_eq!(stored[3], *codec, "{value:?}");
            }
        }
    )*};
}

stored! {
    a_value_of_json_is_stored: Value = [json!({"a": [1, 2.5, null, "x"]}) => JSON, Value::Null => JSON];
    a_decimal_is_stored: Decimal = [Decimal::new(12_345, 2) => JSON];
    a_flattened_struct_is_stored: Flattened = [
        Flattened { id: 1, rest: BTreeMap::from([("a".into(), "b".into())]) } => JSON,
    ];
    an_internally_tagged_enum_is_stored: Tagged = [
        Tagged::Circle { radius: 3 } => JSON,
        Tagged::Square { side: 4 } => JSON,
    ];
    an_untagged_enum_is_stored: Untagged = [Untagged::Number(7) => JSON, Untagged::Text("x".into()) => JSON];
    a_struct_that_skips_fields_is_stored: Skipping = [
        Skipping { next: Some(1), offset: 1, ids: vec![5, 0] } => BINCODE,
        Skipping { next: None, offset: 1, ids: vec![5, 0] } => JSON,
    ];
    what_json_cannot_hold_falls_back_on_the_compact_form: Nested = [
        Nested { extra: Some(json!([1])), score: 1.5 } => JSON,
        Nested { extra: None, score: f64::INFINITY } => BINCODE,
    ];
    ordinary_values_are_compact: Vec<Option<(u8, String)>> = [vec![None, Some((1, "x".into()))] => BINCODE];
}

#[memcached(key = "form:infinite:<n>", ttl = 60, cache = cache, skip(cache))]
fn infinite(cache: &Cache, n: u32) -> Nested {
    COMPUTED.set(COMPUTED.get() + 1);
    Nested { extra: Some(json!(n)), score: f64::INFINITY }
}

#[memcached(key = "form:named:<n>", ttl = 60, codec = bincode, cache = cache, skip(cache))]
fn named(cache: &Cache, n: u32) -> Value {
    COMPUTED.set(COMPUTED.get() + 1);
    json!(n)
}

#[test]
fn a_function_whose_values_have_no_form_is_told_of_once() {
    let recording = Recording::begin();
    let server = Memcached::start();
    let cache = server.cache();
    for n in 0..3 {
        infinite(&cache, n);
        infinite(&cache, n);
        named(&cache, n);
    }
    assert_eq!(COMPUTED.get(), 9);
    let spans = recording.take();
    let told: Vec<_> = spans.iter().flat_map(warnings).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for (text, parts) in told.iter().zip([
        ["forms::infinite", "Nested", "decode", "codec = path"],
        ["forms::named", "Value", "decode", "codec = json"],
    ]) {
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

/// The texts of a span's events at level WARN.
fn warnings(span: &SpanData) -> Vec<String> {
    let is_warning = |pair: &KeyValue| pair.key.as_str() == "level" && pair.value.as_str() == "WARN";
    let warnings = span.events.iter().filter(|event| event.attributes.iter().any(is_warning));
    warnings.map(|event| event.name.to_string()).collect()
}

/// A reader of an older version knows only the function's own codec.
#[memcached(key = "form:side:<n>", ttl = 60, codec = bincode, cache = cache, skip(cache))]
fn older(cache: &Cache, n: u32) -> Skipping {
    COMPUTED.set(COMPUTED.get() + 1);
    Skipping { next: Some(n), offset: 2, ids: vec![] }
}

#[memcached(key = "form:side:<n>", ttl = 60, cache = cache, skip(cache))]
fn newer(cache: &Cache, n: u32) -> Skipping {
    COMPUTED.set(COMPUTED.get() + 1);
    Skipping { next: None, offset: n, ids: vec![] }
}

#[test]
fn versions_with_and_without_the_second_form_live_side_by_side() {
    let server = Memcached::start();
    let cache = server.cache();
    assert_eq!(newer(&cache, 1).next, None);
    assert_eq!((older(&cache, 1).next, older(&cache, 1).next), (Some(1), Some(1)), "a value of its own, kept");
    assert_eq!((newer(&cache, 1).next, COMPUTED.get()), (None, 2));
    assert_eq!(older(&cache, 2).offset, 2);
    assert_eq!((newer(&cache, 2).offset, COMPUTED.get()), (2, 3), "read in the older form");
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Forgetful {
    id: u32,
    #[serde(skip)]
    note: Option<String>,
    #[serde(with = "rounded")]
    price: f64,
}

mod rounded {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(price: &f64, format: S) -> Result<S::Ok, S::Error> {
        format.serialize_i64(price.round() as i64)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(format: D) -> Result<f64, D::Error> {
        i64::deserialize(format).map(|price| price as f64)
    }
}

#[memcached(key = "form:forgetful:<n>", ttl = 60, cache = cache, skip(cache, value))]
fn forgetful(cache: &Cache, n: u32, value: &Forgetful) -> Option<Forgetful> {
    COMPUTED.set(COMPUTED.get() + 1);
    Some(value.clone())
}

#[test]
fn a_value_that_differs_when_read_back_is_not_stored() {
    let recording = Recording::begin();
    let server = Memcached::start();
    let cache = server.cache();
    let plain = Forgetful { id: 1, note: None, price: 2.0 };
    let skipped = Forgetful { note: Some("x".into()), ..plain.clone() };
    let rounded = Forgetful { price: 2.5, ..plain.clone() };
    for (n, value, computed) in [(0, &skipped, 2), (1, &rounded, 2), (2, &plain, 1), (3, &skipped, 2)] {
        let before = COMPUTED.get();
        assert_eq!(forgetful(&cache, n, value).as_ref(), Some(value));
        assert_eq!(forgetful(&cache, n, value).as_ref(), Some(value));
        assert_eq!(COMPUTED.get() - before, computed, "{value:?}");
    }
    let report = memocached::report();
    let row = report.functions.iter().find(|row| row.name.ends_with("forgetful")).unwrap();
    assert_eq!(row.not_stored, 6);
    let spans = recording.take();
    let told: Vec<_> = spans.iter().flat_map(warnings).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(["forgetful", "Forgetful", "skip", "codec = path"].iter().all(|part| told[0].contains(part)), "{told:?}");
}

/// Read by code of its own, and long: it is decoded and compared beside the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct Long(Vec<u32>);

#[memcached(key = "form:long:<n>", ttl = 60, cache = cache, skip(cache))]
async fn long(cache: &Cache, n: u32) -> Long {
    COMPUTED.set(COMPUTED.get() + 1);
    Long(vec![n; 100_000])
}

#[test]
fn a_long_value_is_compared_on_every_kind_of_runtime() {
    let cache = Cache::embedded();
    let runtimes = [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()];
    for (n, mut runtime) in (0..).zip(runtimes) {
        let runtime = runtime.enable_all().build().unwrap();
        let call = |n| {
            let cache = cache.clone();
            async move { assert_eq!(long(&cache, n).await.0.len(), 100_000) }
        };
        runtime.block_on(call(10 * n));
        runtime.block_on(async { tokio::spawn(call(10 * n + 1)).await.unwrap() });
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async { tokio::task::spawn_local(call(10 * n + 2)).await.unwrap() });
        local.block_on(&runtime, call(10 * n + 3));
    }
}
