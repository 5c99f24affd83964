//! Bytes written by another type, version or program are a miss.

use std::sync::atomic::{AtomicU32, Ordering};

use memocached::codec::Codec;
use memocached::{Cache, Error, memcached};
use serde::{Deserialize, Serialize};

use crate::support::memcached::Memcached;
use crate::support::process::{again, output, role};
use crate::support::recording::{Recording, attribute, events};

macro_rules! version {
    ($name:ident, version = $version:literal, { $($field:ident: $type:ty = $value:expr),* }) => {
        mod $name {
            use super::*;

            #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
            pub(super) struct User { $(pub(super) $field: $type),* }

            #[memcached(key = "schema:user:<id>", ttl = 60, version = $version, cache = cache, skip(cache))]
            pub(super) fn user(cache: &Cache, id: u64) -> User {
                let _ = id;
                User { $($field: $value),* }
            }
        }
    };
}

version!(first, version = 0, { id: u64 = 1, age: u32 = 30, score: u32 = 7 });
version!(same, version = 0, { id: u64 = 2, age: u32 = 31, score: u32 = 8 });
version!(swapped, version = 0, { id: u64 = 3, score: u32 = 9, age: u32 = 32 });
version!(dropped, version = 0, { id: u64 = 4, age: u32 = 33 });
version!(signed, version = 0, { id: u64 = 5, age: i32 = 34, score: u32 = 10 });
version!(bumped, version = 1, { id: u64 = 6, age: u32 = 35, score: u32 = 11 });

/// A codec of one's own, for types that share their form.
#[derive(Clone, Copy)]
struct EightBytes;

macro_rules! eight_bytes {
    ($($type:ty),*) => {$(
        impl Codec<$type> for EightBytes {
            fn id(&self) -> u8 {
                64
            }

            fn encode(&self, value: &$type, out: &mut Vec<u8>) -> Result<(), Error> {
                out.extend(value.to_be_bytes());
                Ok(())
            }

            fn decode(&self, bytes: &[u8]) -> Result<$type, Error> {
                let bytes = bytes.try_into().map_err(Error::decode)?;
                Ok(<$type>::from_be_bytes(bytes))
            }
        }
    )*};
}

eight_bytes!(u64, f64);

#[test]
fn a_codec_of_ones_own_reads_no_value_of_another_type() {
    #[memcached(key = "schema:eight:<n>", ttl = 60, near = 60, codec = EightBytes, cache = cache, skip(cache))]
    fn whole(cache: &Cache, n: u64) -> u64 {
        n
    }
    #[memcached(key = "schema:eight:<n>", ttl = 60, near = 60, codec = EightBytes, cache = cache, skip(cache))]
    fn real(cache: &Cache, n: u64) -> f64 {
        n as f64
    }
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        for _ in 0..3 {
            assert_eq!((whole(&cache, 1), real(&cache, 1)), (1, 1.0));
        }
    }
}

#[test]
fn a_changed_struct_is_computed_anew() {
    let server = Memcached::start();
    let cache = server.cache();
    assert_eq!(first::user(&cache, 1).id, 1);
    assert_eq!(same::user(&cache, 1).id, 1, "the same structure is a hit");
    assert_eq!(swapped::user(&cache, 1).score, 9);
    assert_eq!(dropped::user(&cache, 1).id, 4);
    assert_eq!(signed::user(&cache, 1).age, 34);
    assert_eq!(bumped::user(&cache, 1).id, 6);
    assert_eq!(bumped::user(&cache, 1).id, 6);
    assert_eq!(server.stat("cmd_set"), 5, "each of them stored its own");
}

#[test]
fn what_another_program_stored_is_replaced() {
    let server = Memcached::start();
    let cache = server.cache();
    for foreign in ["ms schema:user:1 5 T60\r\nhello", "ms schema:user:1 0 T60\r\n", "ms schema:user:1 0 F16 T60\r\n"] {
        assert_eq!(server.command(foreign), "HD");
        assert_eq!(first::user(&cache, 1).id, 1);
        assert_eq!(same::user(&cache, 1).id, 1, "{foreign:?}");
        assert_eq!(server.command("md schema:user:1"), "HD");
    }
}

#[test]
fn damaged_bytes_are_a_miss() {
    let server = Memcached::start();
    let cache = server.cache();
    first::user(&cache, 1);
    let stored = server.stored("schema:user:1").expect("stored");
    for place in [0, 3, 10, 20, 30, 40, stored.len() - 1] {
        let mut damaged = stored.clone();
        damaged[place] ^= 1;
        server.store("schema:user:1", 1, &damaged);
        assert_eq!(same::user(&cache, 1).id, 2, "byte {place}");
        server.store("schema:user:1", 1, &damaged[..damaged.len() - 1]);
        assert_eq!(same::user(&cache, 1).id, 2, "byte {place}, cut");
    }
    server.store("schema:user:1", 1, &stored);
    assert_eq!(same::user(&cache, 1).id, 1);
}

#[test]
fn another_keys_value_is_a_miss() {
    let server = Memcached::start();
    let cache = server.cache();
    first::user(&cache, 1);
    let stored = server.stored("schema:user:1").expect("stored");
    server.store("schema:user:2", 1, &stored);
    assert_eq!(same::user(&cache, 2).id, 2);
}

/// Pairs of types of which a program had one and then the other.
macro_rules! pairs {
    ($($pair:ident:
        { $($old:item)* } $before:ty = $old_value:expr;
        { $($new:item)* } $after:ty = $new_value:expr;
    )*) => {
        $(mod $pair {
            versioned!(before, { $($old)* } $before = $old_value);
            versioned!(after, { $($new)* } $after = $new_value);
        })*

        /// What each function of this age says of its call.
        fn call_all(age: &str) -> Vec<String> {
            vec![$(told(stringify!($pair), |pair| match age {
                "before" => drop($pair::before::value(pair)),
                _ => drop($pair::after::value(pair)),
            })),*]
        }
    };
}

macro_rules! versioned {
    ($age:ident, { $($item:item)* } $type:ty = $value:expr) => {
        pub(super) mod $age {
            #![allow(dead_code, unreachable_pub, unused_imports, reason = "the types are stored, and that is all")]
            use std::collections::BTreeMap;

            use memocached::memcached;
            use serde::{Deserialize, Serialize};

            $(#[derive(Default, Serialize, Deserialize)] $item)*

            #[memcached(key = "schema:<pair>", ttl = 60)]
            pub(in super::super) fn value(pair: &str) -> $type {
                $value
            }
        }
    };
}

pairs! {
    fields_swapped:
        { pub struct V { age: u32, score: u32 } } V = V { age: 30, score: 7 };
        { pub struct V { score: u32, age: u32 } } V = V::default();
    last_field_dropped:
        { pub struct V { age: u32, score: u32 } } V = V { age: 30, score: 7 };
        { pub struct V { age: u32 } } V = V::default();
    field_added:
        { pub struct V { age: u32 } } V = V { age: 30 };
        { pub struct V { age: u32, note: Option<String> } } V = V::default();
    field_renamed:
        { pub struct V { age: u32 } } V = V { age: 30 };
        { pub struct V { years: u32 } } V = V::default();
    sign_changed:
        { pub struct V { balance: u32 } } V = V { balance: 1 };
        { pub struct V { balance: i32 } } V = V::default();
    variant_renamed:
        { pub enum V { #[default] Open, Shut } } V = V::Shut;
        { pub enum V { #[default] Open, Closed } } V = V::Open;
    variants_reordered:
        { pub enum V { #[default] Open, Shut } } V = V::Shut;
        { pub enum V { #[default] Shut, Open } } V = V::Open;
    payload_changed:
        { pub enum V { #[default] None, Some(u32) } } V = V::Some(1);
        { pub enum V { #[default] None, Some(i32) } } V = V::None;
    option_added:
        { pub struct V { age: u8 } } V = V { age: 1 };
        { pub struct V { age: Option<u8> } } V = V::default();
    nested_field_changed:
        { pub struct Inner { at: u64 } pub struct V { inner: Inner } } V = V { inner: Inner { at: 1 } };
        { pub struct Inner { at: i64 } pub struct V { inner: Inner } } V = V::default();
    element_changed:
        { pub struct V { all: Vec<u16> } } V = V { all: vec![1, 2] };
        { pub struct V { all: Vec<u32> } } V = V::default();
    map_value_changed:
        {} BTreeMap<String, u32> = BTreeMap::from([("a".to_owned(), 1)]);
        {} BTreeMap<String, i32> = BTreeMap::new();
    tuple_reordered:
        {} (u8, String) = (1, "a".to_owned());
        {} (String, u8) = Default::default();
    newtype_unwrapped:
        { pub struct V(u64); } V = V(1);
        {} u64 = 1;
    float_for_integer:
        { pub struct V { share: u32 } } V = V { share: 1 };
        { pub struct V { share: f32 } } V = V::default();
    text_for_bytes:
        {} String = "abc".to_owned();
        {} Vec<u8> = vec![1];
}

/// Result, reason and trouble of one call.
fn told(pair: &str, call: impl FnOnce(&str)) -> String {
    let recording = Recording::begin();
    call(pair);
    let spans = recording.take();
    let span = spans.iter().find(|span| span.name == "value").expect("the call's span");
    let result = attribute(span, "cache.result").expect("a result").to_string();
    let reason = span.events.events.iter().flat_map(|event| &event.attributes);
    let reason = reason.filter(|pair| pair.key.as_str() == "cache.miss.reason").map(|pair| pair.value.to_string());
    let failed = spans.iter().any(|span| matches!(span.status, opentelemetry::trace::Status::Error { .. }));
    let trouble =
        if failed || events(span).contains(&"Cached value could not be decoded") { " in trouble" } else { "" };
    format!("{pair}: {result} {}{trouble}", reason.collect::<Vec<_>>().join(" "))
}

#[test]
fn a_type_that_has_changed_between_two_programs_is_a_miss_either_way() {
    const TEST: &str = "behaviour::schema::a_type_that_has_changed_between_two_programs_is_a_miss_either_way";
    if let Some(age) = role() {
        call_all(&age).iter().for_each(|line| println!("told {line}"));
        return;
    }
    let server = Memcached::start();
    for codec in ["bincode", "postcard", "json"] {
        let program = |namespace: &str, age: &str| {
            let mut program = again(TEST, age);
            program.env("MEMCACHED_TIMEOUT", "10s").env("MEMCACHED_CONNECT_TIMEOUT", "10s");
            program.env("MEMCACHED_SERVERS", server.address()).env("MEMCACHED_CODEC", codec);
            let printed = output(program.env("MEMCACHED_NAMESPACE", format!("{codec}.{namespace}")));
            let told = printed.lines().filter_map(|line| line.split_once("told ").map(|told| told.1.to_owned()));
            let told: Vec<_> = told.collect();
            assert_eq!(told.len(), 16, "{printed}");
            told
        };
        for (first, second) in [("before", "after"), ("after", "before")] {
            assert!(program(first, first).iter().all(|line| line.ends_with(": miss absent")));
            let same = program(first, first);
            assert!(same.iter().all(|line| line.ends_with(": hit ")), "{codec}: {same:#?}");
            let other = program(first, second);
            assert!(other.iter().all(|line| line.ends_with(": miss schema")), "{codec}, {first} first: {other:#?}");
        }
    }
}

static ASKED: AtomicU32 = AtomicU32::new(0);

/// Counts how often its type is asked for its structure, or its value read.
#[derive(Serialize)]
struct Counted(u64);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        ASKED.fetch_add(1, Ordering::Relaxed);
        u64::deserialize(deserializer).map(Counted)
    }
}

#[memcached(key = "schema:counted:<id>", ttl = 60, cache = cache, skip(cache))]
fn counted(cache: &Cache, id: u64) -> Counted {
    Counted(id)
}

#[test]
fn a_type_is_asked_for_its_structure_once_and_not_by_hits() {
    let server = Memcached::start();
    let cache = server.cache();
    counted(&cache, 1);
    let before = ASKED.load(Ordering::Relaxed);
    for _ in 0..1_000 {
        assert_eq!(counted(&cache, 1).0, 1);
    }
    let elsewhere = || std::thread::scope(|scope| scope.spawn(|| counted(&cache, 1).0).join());
    assert_eq!(elsewhere().unwrap(), 1);
    assert_eq!(ASKED.load(Ordering::Relaxed) - before, 1_001, "each hit reads one value");
}
