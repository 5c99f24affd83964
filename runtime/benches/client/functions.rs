//! Memoized functions, on memcached and on the embedded store.

use std::hint::black_box;

use memcache::exp::MetaClient;
use memocached::{Cache, memcached};

use super::memcached::Memcached;
use super::timing::Row;

#[memcached(key = "bench:square:<n>", ttl = 600, cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    n * n
}

#[memcached(key = "bench:page:<n>", ttl = 600, cache = cache, skip(cache))]
fn page(cache: &Cache, n: u8) -> String {
    char::from(n).to_string().repeat(1024)
}

pub(crate) fn rows(server: &Memcached) -> Vec<Row> {
    let config = bincode::config::standard();
    let bytes = bincode::serde::encode_to_vec(144_u64, config).unwrap();
    let exp = MetaClient::connect(server.address()).unwrap();
    exp.set("bench:exp", bytes).ttl_raw(600).send().unwrap();
    let by_hand = move |times| {
        for _ in 0..times {
            let bytes = exp.get("bench:exp").send().unwrap().value.unwrap();
            let (value, _): (u64, usize) = bincode::serde::decode_from_slice(&bytes, config).unwrap();
            assert_eq!(value, 144);
        }
    };
    let in_memory = quick_cache::sync::Cache::new(100);
    in_memory.insert(12_u64, 144_u64);
    let looked_up = move |times| {
        for _ in 0..times {
            assert_eq!(in_memory.get(&black_box(12)), Some(144));
        }
    };
    let called = |cache: Cache| {
        move |times| {
            for _ in 0..times {
                assert_eq!(square(&cache, black_box(12)), 144);
            }
        }
    };
    let read = |cache: Cache| {
        move |times| {
            for _ in 0..times {
                assert_eq!(page(&cache, black_box(b'x')).len(), 1024);
            }
        }
    };
    vec![
        Row {
            name: "function, 1 KiB, embedded",
            callers: 1,
            contenders: vec![
                ("memoized", Box::new(read(Cache::embedded()))),
                #[cfg(feature = "authenticated")]
                ("memoized and signed", Box::new(read(Cache::builder().auth_key([7; 32]).build().unwrap()))),
            ],
        },
        Row {
            name: "function, memcached",
            callers: 1,
            contenders: vec![
                ("exp get, bincode decode", Box::new(by_hand)),
                ("memoized", Box::new(called(server.cache()))),
            ],
        },
        Row {
            name: "function, embedded",
            callers: 1,
            contenders: vec![
                ("quick_cache get", Box::new(looked_up)),
                ("memoized", Box::new(called(Cache::embedded()))),
            ],
        },
    ]
}
