//! Memoized functions, on memcached and on the embedded store.

use std::hint::black_box;
use std::task::Poll;

use async_memcached::AsciiProtocol;
use memcache::exp::{AsyncMetaClient, MetaClient};
use memocached::{Cache, Client, RawItem, memcached};

use super::memcached::Memcached;
use super::raw::Raw;
use super::timing::{Row, Work};

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

#[memcached(key = "bench:batch:<n>", ttl = 600, cache = cache, skip(cache))]
async fn text_later(cache: &Cache, n: u64) -> String {
    format!("{n:0>100}")
}

#[memcached(key = "bench:batch:<n>", each(n in numbers), ttl = 600, cache = cache, skip(cache))]
async fn texts_later(cache: &Cache, numbers: &[u64]) -> Vec<String> {
    numbers.iter().map(|n| format!("{n:0>100}")).collect()
}

/// Repeats an async operation on one thread.
pub(crate) fn repeated<F: Future>(mut operation: impl FnMut() -> F + 'static) -> Work {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    Box::new(move |times| {
        runtime.block_on(async {
            for _ in 0..times {
                operation().await;
            }
        });
    })
}

/// Waits for all of these in one task.
async fn join_all<T>(calls: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut calls: Vec<_> = calls.map(|call| (Box::pin(call), None)).collect();
    std::future::poll_fn(|context| {
        for (call, done) in &mut calls {
            if done.is_none()
                && let Poll::Ready(value) = call.as_mut().poll(context)
            {
                *done = Some(value);
            }
        }
        if calls.iter().all(|(_, done)| done.is_some()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    calls.into_iter().filter_map(|(_, done)| done).collect()
}

/// A hundred values that are all there, asked for by tasks and by other clients.
fn batch_of_tasks(server: &Memcached) -> Row {
    let numbers: Vec<u64> = (0..100).collect();
    let keys: Vec<String> = numbers.iter().map(|n| format!("bench:batch:{n}")).collect();
    let (cache, mut raw) = (server.cache(), Raw::connect(&server.address()));
    texts(&cache, &numbers);
    let (each, joined) = (cache.clone(), cache);
    let (listed, expected) = (keys.clone(), numbers.clone());
    let (exp_keys, async_keys) = (keys.clone(), keys.clone());
    let address = format!("tcp://{}", server.address());
    let own = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut other = own.block_on(async_memcached::Client::new(address)).unwrap();
    let exp_runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let exp = exp_runtime.block_on(AsyncMetaClient::connect(server.address())).unwrap();
    Row {
        name: "batch of 100, async",
        callers: 1,
        contenders: vec![
            (
                "socket loop, in order",
                Box::new(move |times| {
                    for _ in 0..times {
                        assert!(raw.get_list(&listed).iter().all(Option::is_some));
                    }
                }),
            ),
            (
                "memoized batch",
                repeated(move || {
                    let (cache, numbers) = (each.clone(), expected.clone());
                    async move { assert_eq!(texts_later(&cache, black_box(&numbers)).await.len(), 100) }
                }),
            ),
            (
                "join_all of 100 calls",
                repeated(move || {
                    let (cache, numbers) = (joined.clone(), numbers.clone());
                    async move {
                        let texts = join_all(numbers.iter().map(|n| text_later(&cache, black_box(*n)))).await;
                        assert_eq!(texts.len(), 100);
                    }
                }),
            ),
            (
                "async-memcached",
                Box::new(move |times| {
                    own.block_on(async {
                        for _ in 0..times {
                            assert_eq!(other.get_multi(&async_keys).await.unwrap().len(), 100);
                        }
                    });
                }),
            ),
            (
                "memcache::exp",
                Box::new(move |times| {
                    exp_runtime.block_on(async {
                        for _ in 0..times {
                            let gets = exp_keys.iter().map(|key| exp.get(key).into_operation());
                            assert_eq!(exp.run_many(gets).await.unwrap().len(), 100);
                        }
                    });
                }),
            ),
        ],
    }
}

/// A thousand values, of which ten are computed and stored, or none.
fn batch_with_gaps(server: &Memcached) -> Row {
    let numbers: Vec<u64> = (0..1_000).collect();
    let keys: Vec<String> = numbers.iter().map(|n| format!("bench:batch:{n}")).collect();
    let missing: Vec<String> = keys.iter().step_by(100).cloned().collect();
    let (cache, mut raw) = (server.cache(), Raw::connect(&server.address()));
    texts(&cache, &numbers);
    let client = Client::of(&cache);
    let (other, deleting, all) = (cache.clone(), client.clone(), numbers.clone());
    // To delete what is not there takes as long.
    let others: Vec<String> = missing.iter().map(|key| format!("{key}:none")).collect();
    Row {
        name: "batch of 1,000",
        callers: 1,
        contenders: vec![
            (
                "socket loop, in order",
                Box::new(move |times| {
                    for _ in 0..times {
                        let found = keys.chunks(200).flat_map(|keys| raw.get_list(keys));
                        assert_eq!(found.flatten().count(), 1_000);
                    }
                }),
            ),
            (
                "all warm",
                Box::new(move |times| {
                    for _ in 0..times {
                        assert_eq!(texts(&cache, black_box(&numbers)).len(), 1_000);
                    }
                }),
            ),
            (
                "delete 10",
                Box::new(move |times| {
                    for _ in 0..times {
                        assert!(client.delete_many(&others).is_empty());
                    }
                }),
            ),
            (
                "delete 10, batch",
                Box::new(move |times| {
                    for _ in 0..times {
                        assert!(deleting.delete_many(&missing).is_empty());
                        assert_eq!(texts(&other, black_box(&all)).len(), 1_000);
                    }
                }),
            ),
            (
                "the body of 10",
                Box::new(move |times| {
                    for _ in 0..times {
                        let texts: Vec<String> = (0..10).map(|n| format!("{:0>100}", black_box(n))).collect();
                        assert_eq!(texts.len(), 10);
                    }
                }),
            ),
        ],
    }
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
        batch_of_tasks(server),
        batch_with_gaps(server),
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
