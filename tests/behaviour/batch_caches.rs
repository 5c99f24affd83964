//! Batches on caches of all kinds: in the classic protocol, signed, compressed, and
//! shared by two versions of a program.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use memocached::{Builder, Cache, Entries, Protocol, memcached};

use crate::support::memcached::Memcached;
use crate::support::tap::Tap;

type Log = RefCell<Vec<u64>>;

#[memcached(
    key = "caches:<n>", each(n in numbers), ttl = 600, cache = cache, skip(cache, log), entry = text_entry
)]
fn texts(cache: &Cache, log: &Log, numbers: &[u64]) -> HashMap<u64, String> {
    log.borrow_mut().extend(numbers);
    numbers.iter().map(|n| (*n, text(*n))).collect()
}

/// The function for one element.
#[memcached(key = "caches:<n>", ttl = 600, cache = cache, skip(cache))]
fn one(cache: &Cache, n: u64) -> Option<String> {
    panic!("{n} is there")
}

fn text(n: u64) -> String {
    format!("{n} ").repeat(200)
}

/// A cache, and what its values and requests look like.
struct Kind {
    name: &'static str,
    build: fn(Builder<Cache>) -> Builder<Cache>,
    flags: u32,
    is_short: bool,
    lookup: &'static str,
}

const MARK: u32 = 0x6D63_0000;
const SIGNED: u32 = 0x100;
const DEFLATED: u32 = 8;

const KINDS: [Kind; 6] = [
    Kind { name: "plain", build: |builder| builder, flags: MARK, is_short: false, lookup: "mg " },
    Kind {
        name: "classic",
        build: |builder| builder.protocol(Protocol::Ascii),
        flags: MARK,
        is_short: false,
        lookup: "get",
    },
    Kind {
        name: "signed",
        build: |builder| builder.auth_key([7; 32]),
        flags: MARK | SIGNED,
        is_short: false,
        lookup: "mg ",
    },
    Kind {
        name: "compressed",
        build: |builder| builder.compress(64),
        flags: MARK | DEFLATED,
        is_short: true,
        lookup: "mg ",
    },
    Kind {
        name: "signed and compressed",
        build: |builder| builder.auth_key([7; 32]).compress(64),
        flags: MARK | SIGNED | DEFLATED,
        is_short: true,
        lookup: "mg ",
    },
    Kind {
        name: "all of it",
        build: |builder| builder.auth_key([7; 32]).compress(64).protocol(Protocol::Ascii),
        flags: MARK | SIGNED | DEFLATED,
        is_short: true,
        lookup: "get",
    },
];

#[test]
fn a_batch_computes_only_what_is_missing_or_spoilt_on_any_cache() {
    for Kind { name, build, flags, is_short, lookup } in KINDS {
        let (server, log) = (Memcached::start(), Log::default());
        let tap = Tap::before(server.port);
        let cache = || {
            let builder = Cache::builder().servers(format!("127.0.0.1:{}", tap.port));
            build(builder.timeout(Duration::from_secs(10))).build().unwrap()
        };
        // Of two processes.
        let (cache, other) = (cache(), cache());
        let computed = |cache: &Cache, numbers: &[u64]| {
            let expected: HashMap<u64, String> = numbers.iter().map(|n| (*n, text(*n))).collect();
            assert_eq!(texts(cache, &log, numbers), expected, "{name}");
            log.take()
        };
        let all: Vec<u64> = (0..100).collect();
        assert_eq!(computed(&cache, &all[..90]), all[..90], "{name}");
        assert_eq!(computed(&other, &all), all[90..], "{name}");
        assert_eq!(computed(&cache, &all), [0_u64; 0], "{name}");
        assert_eq!(one(&other, 95), Some(text(95)), "{name}");

        let key = "caches:7";
        let told = server.command(&format!("mg {key} f"));
        assert_eq!(told, format!("HD f{flags}"), "{name}");
        let mut stored = server.stored(key).unwrap();
        assert_eq!(stored.len() < text(7).len(), is_short, "{name}: {} bytes", stored.len());
        let sent = String::from_utf8_lossy(&tap.sent()).into_owned();
        let lookups = sent.lines().filter(|line| line.contains("caches:") && line.starts_with(['m', 'g']));
        assert!(
            lookups.clone().count() > 0
                && lookups.clone().all(|line| line.starts_with(lookup) || line.starts_with("ms ")),
            "{name}"
        );

        // Damaged, gone, and another key's.
        let middle = stored.len() / 2;
        stored[middle] ^= 1;
        server.store(key, flags, &stored);
        assert_eq!(server.command("md caches:11"), "HD");
        server.store("caches:13", flags, &server.stored("caches:14").unwrap());
        assert_eq!(computed(&other, &all), [7, 11, 13], "{name}");
        assert_eq!(computed(&cache, &all), [0_u64; 0], "{name}");

        let entries: Entries<Option<String>> = all[20..40].iter().map(|n| text_entry(&cache, n)).collect();
        assert!(entries.delete_many().into_iter().all(Result::unwrap), "{name}");
        assert_eq!(computed(&other, &all), all[20..40], "{name}");
    }
}

#[test]
fn a_batch_does_not_use_values_of_another_secret_or_none() {
    let server = Memcached::start();
    let builder = || Cache::builder().servers(server.address()).timeout(Duration::from_secs(10));
    let log = Log::default();
    let caches = [builder(), builder().auth_key([7; 32]), builder().auth_key([8; 32]).compress(64)];
    let caches = caches.map(|builder| builder.build().unwrap());
    let all: Vec<u64> = (0..100).collect();
    for cache in &caches {
        texts(cache, &log, &all);
        assert_eq!(log.take(), all);
    }
    // Each has its own beside the others'.
    for cache in &caches {
        assert_eq!(texts(cache, &log, &all)[&99], text(99));
        assert_eq!(log.take(), [0_u64; 0]);
    }
}

macro_rules! version {
    ($version:ident { $($field:ident: $type:ty),* } $new:expr) => {
        mod $version {
            #![allow(dead_code, reason = "only one version deletes")]
            use super::*;

            #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
            pub(super) struct User { $(pub(super) $field: $type),* }

            #[memcached(
                key = "caches:user:<id>", each(id in ids), ttl = 60, entry = user_entry, cache = cache, skip(cache, log)
            )]
            pub(super) fn users(cache: &Cache, log: &Log, ids: &[u64]) -> Vec<User> {
                log.borrow_mut().extend(ids);
                ids.iter().copied().map($new).collect()
            }
        }
    };
}

version!(old { id: u64, age: u32 } | id | User { id, age: 30 });
version!(new { id: u64, age: Option<u32>, name: String } |id| User { id, age: None, name: format!("no. {id}") });

#[test]
fn two_versions_of_a_batch_keep_both_their_values() {
    let server = Memcached::start();
    let classic = Cache::builder().servers(server.address()).protocol(Protocol::Ascii);
    let classic = classic.timeout(Duration::from_secs(10)).build().unwrap();
    let ids: Vec<u64> = (0..100).collect();
    let log = Log::default();
    for (name, cache) in [("embedded", Cache::embedded()), ("meta", server.cache()), ("classic", classic)] {
        let old = |ids: &[u64]| {
            let users = old::users(&cache, &log, ids);
            assert!(users.iter().zip(ids).all(|(user, id)| *user == old::User { id: *id, age: 30 }), "{name}");
            log.take()
        };
        let new = |ids: &[u64]| {
            let users = new::users(&cache, &log, ids);
            assert!(users.iter().zip(ids).all(|(user, id)| user.name == format!("no. {id}")), "{name}");
            log.take()
        };
        assert_eq!(old(&ids[..50]), ids[..50], "{name}");
        assert_eq!(new(&ids), ids, "{name}");
        assert_eq!(old(&ids), ids[50..], "{name}");
        for _ in 0..2 {
            assert_eq!((old(&ids), new(&ids)), (vec![], vec![]), "{name}");
        }
        // What one deletes is gone for both, and nothing else.
        let entries: Entries<new::User> = ids[10..20].iter().map(|id| new::user_entry(&cache, id)).collect();
        assert!(entries.delete_many().into_iter().all(Result::unwrap), "{name}");
        assert_eq!((old(&ids), new(&ids)), (ids[10..20].to_vec(), ids[10..20].to_vec()), "{name}");
        assert_eq!((old(&ids), new(&ids)), (vec![], vec![]), "{name}");
        server.command("flush_all");
    }
}
