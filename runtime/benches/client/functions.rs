//! Memoized functions, on memcached and on the embedded store.

use std::hint::black_box;

use memcache::exp::MetaClient;
use memocached::{Cache, Client, RawItem, memcached};

use super::memcached::Memcached;
use super::raw::Raw;
use super::timing::Row;

#[memcached(key = "bench:square:<n>", ttl = 600, cache = cache, skip(cache))]
fn square(cache: &Cache, n: u64) -> u64 {
    n * n
}

#[memcached(key = "bench:page:<n>", ttl = 600, cache = cache, skip(cache))]
fn page(cache: &Cache, n: u8) -> String {
    char::from(n).to_string().repeat(1024)
}

#[memcached(key = "bench:batch:<n>", each(n in numbers), ttl = 600, cache = cache, skip(cache))]
fn texts(cache: &Cache, numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(|n| format!("{n:0>100}")).collect()
}

#[memcached(key = "bench:batch:<n>", ttl = 600, cache = cache, skip(cache))]
fn text(cache: &Cache, n: u64) -> String {
    format!("{n:0>100}")
}

/// A hundred values that are all there, in order.
fn batch(server: &Memcached) -> Row {
    let numbers: Vec<u64> = (0..100).collect();
    let keys: Vec<String> = numbers.iter().map(|n| format!("bench:batch:{n}")).collect();
    let (cache, mut raw) = (server.cache(), Raw::connect(&server.address()));
    let client = Client::of(&cache);
    let expected = texts(&cache, &numbers);
    let (one_by_one, listed, called) = (cache.clone(), keys.clone(), numbers.clone());
    Row {
        name: "batch of 100 functions",
        callers: 1,
        contenders: vec![
            (
                "socket loop, in order",
                Box::new(move |times| {
                    for _ in 0..times {
                        assert!(raw.get_list(&keys).iter().all(Option::is_some));
                    }
                }),
            ),
            (
                "client, get_all",
                Box::new(move |times| {
                    for _ in 0..times {
                        assert_eq!(client.get_all::<RawItem>(&listed).unwrap().len(), 100);
                    }
                }),
            ),
            (
                "memoized batch",
                Box::new(move |times| {
                    for _ in 0..times {
                        assert_eq!(texts(&cache, black_box(&called)), expected);
                    }
                }),
            ),
            (
                "100 memoized calls",
                Box::new(move |times| {
                    for _ in 0..times {
                        numbers.iter().for_each(|n| assert_eq!(text(&one_by_one, black_box(*n)).len(), 100));
                    }
                }),
            ),
        ],
    }
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
        batch(server),
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
