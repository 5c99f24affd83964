//! Values of the near cache, compared with a hand-written cache of encoded
//! values, or of values in an `Arc`.

use std::hint::black_box;
use std::sync::Arc;

use memocached::{memcached, observed};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::timing::{Row, Work};

#[memcached(key = "bench:near:<n>", ttl = 600, near = 600)]
fn square(n: u64) -> u64 {
    n * n
}

/// A record of realistic size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    id: u64,
    name: String,
    email: String,
    age: u8,
    active: bool,
    balance: i64,
    tags: Vec<u32>,
}

#[memcached(key = "bench:account:<id>", ttl = 600, near = 600)]
fn account(id: u64) -> Account {
    Account {
        id,
        name: "Ada Lovelace".into(),
        email: "ada@example.org".into(),
        age: 36,
        active: true,
        balance: -12,
        tags: vec![1, 2, 3],
    }
}

#[memcached(key = "bench:shared:<id>", ttl = 600, near = 600)]
fn shared_account(id: u64) -> Arc<Account> {
    Arc::new(account(id))
}

/// Formats a key and looks it up.
fn shared_by_hand<T: 'static>(key: fn(u64) -> String, value: T) -> Work {
    let cache = quick_cache::sync::Cache::<Box<str>, Arc<T>>::new(1_000);
    cache.insert(key(12).into(), Arc::new(value));
    Box::new(move |times| {
        for _ in 0..times {
            black_box(cache.get(key(black_box(12)).as_str()).unwrap());
        }
    })
}

/// Formats a key, looks it up and decodes the value.
fn by_hand<T: Serialize + DeserializeOwned>(key: fn(u64) -> String, value: T) -> Work {
    let config = bincode::config::standard();
    let cache = quick_cache::sync::Cache::<Box<str>, Arc<[u8]>>::new(1_000);
    let bytes = bincode::serde::encode_to_vec(value, config).unwrap();
    cache.insert(key(12).into(), bytes.into());
    Box::new(move |times| {
        for _ in 0..times {
            let bytes = cache.get(key(black_box(12)).as_str()).unwrap();
            let (value, _): (T, usize) = bincode::serde::decode_from_slice(&bytes, config).unwrap();
            black_box(value);
        }
    })
}

fn called<T: 'static>(function: fn(u64) -> T) -> Work {
    Box::new(move |times| {
        for _ in 0..times {
            black_box(function(black_box(12)));
        }
    })
}

/// Calls a function while it is observed.
fn seen<T: 'static>(function: fn(u64) -> T) -> Work {
    Box::new(move |times| {
        for _ in 0..times {
            black_box(observed(|| function(black_box(12))));
        }
    })
}

pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "near, u64",
            callers: 1,
            contenders: vec![
                ("quick_cache and decode", by_hand(|n| format!("bench:near:{n}"), 144_u64)),
                ("memoized", called(square)),
                ("observed", seen(square)),
            ],
        },
        Row {
            name: "near, 7 fields",
            callers: 1,
            contenders: vec![
                ("quick_cache and decode", by_hand(|n| format!("bench:account:{n}"), account(12))),
                ("memoized", called(account)),
            ],
        },
        Row {
            name: "near, Arc of 7 fields",
            callers: 1,
            contenders: vec![
                ("quick_cache", shared_by_hand(|n| format!("bench:shared:{n}"), account(12))),
                ("memoized", called(shared_account)),
            ],
        },
    ]
}

/// Runs one contender alone, so that its instructions can be counted. Contenders
/// are numbered across rows, from 0.
pub(crate) fn calls(contender: usize, times: usize) {
    let mut contenders: Vec<Work> = rows().into_iter().flat_map(|row| row.contenders).map(|(_, work)| work).collect();
    contenders[contender](times);
}
