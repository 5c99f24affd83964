//! Memoized functions called by many threads and tasks at once, which share one
//! computation.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use memocached::memcached;
use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::memcached::{Memcached, until};

/// Each test runs on the embedded store and on a real server.
fn caches() -> (Memcached, [Cache; 2]) {
    let server = Memcached::start();
    let real = server.cache();
    (server, [Cache::embedded(), real])
}

fn remote() -> (Memcached, Cache) {
    let server = Memcached::start();
    let cache = server.cache();
    (server, cache)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// That cannot be cloned.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Answer(u32);

#[memcached(key = "together:<n>", cache = cache, skip(cache, body))]
fn blocking(cache: &Cache, n: u32, body: impl FnOnce() -> Answer) -> Answer {
    body()
}

#[memcached(key = "together:<n>", cache = cache, skip(cache, body))]
async fn yielding(cache: &Cache, n: u32, body: impl AsyncFnOnce() -> Answer) -> Answer {
    body().await
}

/// Waits until so many callers wait for the one that computes.
fn awaited(cache: &Cache, key: &str, callers: usize) {
    until("callers to wait", || (cache.flights().waiting(key) == callers).then_some(()));
}

/// Ten thousand calls of a site of their own: how long its computations usually
/// take would decide how long they are waited for.
macro_rules! crowd {
    ($test:ident, $caches:expr) => {
        #[test]
        fn $test() {
            #[memcached(key = "crowd:<n>", cache = cache, skip(cache, body))]
            fn blocking(cache: &Cache, n: u32, body: impl FnOnce() -> Answer) -> Answer {
                body()
            }

            #[memcached(key = "crowd:<n>", cache = cache, skip(cache, body))]
            async fn yielding(cache: &Cache, n: u32, body: impl AsyncFnOnce() -> Answer) -> Answer {
                body().await
            }

            let (_server, cache) = $caches;
            let runtime = runtime();
            // On a busy machine some servers' answers are late, and callers go without them.
            let mut all = Vec::new();
            for number in 1..=4 {
                let computed = Arc::new(AtomicU32::new(0));
                let begun = Instant::now();
                let pause = Duration::from_millis(400);
                let tasks: Vec<_> = (0..9_900)
                    .map(|_| {
                        let (cache, computed) = (cache.clone(), Arc::clone(&computed));
                        runtime.spawn(async move {
                            let body = async || {
                                computed.fetch_add(1, Ordering::Relaxed);
                                tokio::time::sleep(pause).await;
                                Answer(7)
                            };
                            yielding(&cache, number, body).await
                        })
                    })
                    .collect();
                let call = || {
                    blocking(&cache, number, || {
                        computed.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(pause);
                        Answer(7)
                    })
                };
                thread::scope(|scope| {
                    let threads: Vec<_> = (0..100).map(|_| scope.spawn(call)).collect();
                    threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), Answer(7)));
                });
                for task in tasks {
                    assert_eq!(runtime.block_on(task).unwrap(), Answer(7));
                }
                assert_eq!(cache.flights().len(), 0);
                println!("10,000 callers of {pause:?} took {:?}", begun.elapsed());
                all.push(computed.load(Ordering::Relaxed));
                if all.ends_with(&[1]) {
                    return;
                }
            }
            panic!("computed {all:?} times");
        }
    };
}

crowd!(ten_thousand_threads_and_tasks_compute_once_in_one_of_four_rounds_in_process, ((), Cache::embedded()));
crowd!(ten_thousand_threads_and_tasks_compute_once_in_one_of_four_rounds, remote());

#[test]
fn a_panic_is_its_callers_alone() {
    let (_server, caches) = caches();
    for cache in caches {
        thread::scope(|scope| {
            let leader = scope.spawn(|| {
                let panics = || {
                    awaited(&cache, "together:2", 4);
                    panic!("on purpose")
                };
                catch_unwind(AssertUnwindSafe(|| blocking(&cache, 2, panics))).is_err()
            });
            until("the leader", || (cache.flights().len() == 1).then_some(()));
            let others: Vec<_> = (0..4).map(|_| scope.spawn(|| blocking(&cache, 2, || Answer(1)))).collect();
            assert!(leader.join().unwrap());
            others.into_iter().for_each(|other| assert_eq!(other.join().unwrap(), Answer(1)));
        });
        assert_eq!(blocking(&cache, 2, || Answer(1)), Answer(1));
        assert_eq!(cache.flights().len(), 0);
    }
}

macro_rules! unkept {
    ($($site:ident),*) => {$(
        /// A site of its own for each round: what one takes is what the next waits.
        #[memcached(key = "unkept:<n>", cache = cache, skip(cache, body), store_if = |value| *value > 0)]
        fn $site(cache: &Cache, n: u32, body: &dyn Fn() -> Result<u32, ()>) -> Result<u32, ()> {
            body()
        }
    )*};
}

unkept!(first, second, third, fourth);

type Unkept = fn(&Cache, u32, &dyn Fn() -> Result<u32, ()>) -> Result<u32, ()>;

#[test]
fn when_a_result_is_not_kept_the_others_go_on_at_once() {
    let (_server, caches) = caches();
    let mut sites = [first as Unkept, second, third, fourth].into_iter();
    for cache in caches {
        // An error, and a value that `store_if` does not want.
        for (n, result) in [(1, Err(())), (2, Ok(0))] {
            let unkept = sites.next().expect("a site for each round");
            let computed = AtomicU32::new(0);
            thread::scope(|scope| {
                let leads = || {
                    unkept(&cache, n, &|| {
                        awaited(&cache, &format!("unkept:{n}"), 8);
                        result
                    })
                };
                let leader = scope.spawn(leads);
                until("the leader", || (cache.flights().len() == 1).then_some(()));
                let follows = || {
                    unkept(&cache, n, &|| {
                        computed.fetch_add(1, Ordering::Relaxed);
                        let all = || (computed.load(Ordering::Relaxed) == 8).then_some(());
                        until("all of the others to compute at the same time", all);
                        result
                    })
                };
                let others: Vec<_> = (0..8).map(|_| scope.spawn(follows)).collect();
                assert_eq!(leader.join().unwrap(), result);
                others.into_iter().for_each(|other| assert_eq!(other.join().unwrap(), result));
            });
            assert_eq!(computed.load(Ordering::Relaxed), 8);
            assert_eq!(cache.flights().len(), 0);
        }
    }
}

/// A body that is pending for as many polls as there are.
async fn polls(count: u32) {
    let mut left = count;
    poll_fn(|context| {
        left = left.saturating_sub(1);
        context.waker().wake_by_ref();
        if left == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_call_dropped_at_any_poll_strands_no_other() {
    let (_server, caches) = caches();
    let runtime = runtime();
    for (which, cache) in caches.iter().enumerate() {
        for role in ["leader", "waiter", "alone"] {
            for poll in 1..12 {
                let n = 1_000 * (which as u32 + 1) + poll;
                let key = if role == "leader" { n } else { n + 100_000 };
                let key = if role == "alone" { n + 200_000 } else { key };
                runtime.block_on(dropped_at(cache, key, poll, role));
                until("leases to be given back", || {
                    let now = runtime.block_on(yielding(cache, key + 500_000, async || Answer(0)));
                    (cache.flights().len() == 0 && now == Answer(0)).then_some(())
                });
            }
        }
    }
}

async fn dropped_at(cache: &Cache, key: u32, poll: u32, role: &str) {
    let call = || {
        yielding(cache, key, async || {
            polls(5).await;
            Answer(key)
        })
    };
    let give_up = async {
        let mut given_up = pin!(call());
        let mut count = 0;
        poll_fn(|context| {
            count += 1;
            match given_up.as_mut().poll(context) {
                Poll::Ready(answer) => {
                    assert_eq!(answer, Answer(key));
                    Poll::Ready(())
                }
                Poll::Pending if count == poll => Poll::Ready(()),
                Poll::Pending => Poll::Pending,
            }
        })
        .await;
    };
    let limit = Duration::from_secs(4);
    let others = async {
        let (one, two) = tokio::join!(call(), call());
        assert_eq!((one, two), (Answer(key), Answer(key)));
    };
    let both = async {
        match role {
            "leader" => drop(tokio::join!(give_up, others)),
            "waiter" => drop(tokio::join!(others, give_up)),
            _ => give_up.await,
        }
        assert_eq!(call().await, Answer(key));
    };
    // Less than the patience that would break up a deadlock.
    tokio::time::timeout(limit, both).await.unwrap_or_else(|_| panic!("stranded: {role} dropped at {poll}"));
}

#[memcached(key = "even:<n>", cache = cache, skip(cache, depth))]
fn even(cache: &Cache, n: u32, depth: u32) -> u32 {
    if depth == 0 { n } else { odd(cache, n, depth - 1) }
}

#[memcached(key = "odd:<n>", cache = cache, skip(cache, depth))]
fn odd(cache: &Cache, n: u32, depth: u32) -> u32 {
    if depth == 0 { n } else { even(cache, n, depth - 1) }
}

#[memcached(key = "deep:<n>", cache = cache, skip(cache, depth))]
async fn deep(cache: &Cache, n: u32, depth: u32) -> u32 {
    if depth == 0 { n } else { Box::pin(deep(cache, n, depth - 1)).await }
}

#[test]
fn a_computation_that_asks_for_itself_computes() {
    let (_server, caches) = caches();
    for cache in caches {
        let begun = Instant::now();
        assert_eq!(even(&cache, 1, 9), 1);
        assert_eq!(runtime().block_on(deep(&cache, 1, 5)), 1);
        // Waiting for itself would have taken longer.
        assert!(begun.elapsed() < Duration::from_secs(4));
        assert_eq!(cache.flights().len(), 0);
    }
}

#[test]
fn two_computations_that_would_wait_for_each_other_compute() {
    let (_server, caches) = caches();
    for cache in caches {
        let begun = Instant::now();
        let computing = AtomicU32::new(0);
        let ask = |mine: u32, other: u32| {
            let body = || {
                computing.fetch_add(1, Ordering::Relaxed);
                until("both to compute", || (computing.load(Ordering::Relaxed) == 2).then_some(()));
                let Answer(of_other) = blocking(&cache, other, || Answer(other));
                Answer(mine + of_other)
            };
            blocking(&cache, mine, body)
        };
        thread::scope(|scope| {
            let one = scope.spawn(|| ask(31, 32));
            let two = scope.spawn(|| ask(32, 31));
            let (one, two) = (one.join().unwrap(), two.join().unwrap());
            assert!(one == Answer(63) || two == Answer(63), "{one:?} {two:?}");
        });
        assert!(begun.elapsed() < Duration::from_secs(4));
        assert_eq!(cache.flights().len(), 0);
    }
}

#[test]
fn a_child_that_waits_for_its_parent_computes_in_the_end() {
    let cache = Cache::embedded();
    let (done, ended) = mpsc::channel();
    let calls = cache.clone();
    // Left behind if it waits for ever.
    thread::spawn(move || {
        let child = || thread::scope(|scope| scope.spawn(|| blocking(&calls, 41, || Answer(42))).join().unwrap());
        let parent = blocking(&calls, 41, || {
            let Answer(of_child) = child();
            Answer(of_child - 1)
        });
        done.send(parent).expect("the test waits");
    });
    let parent = ended.recv_timeout(Duration::from_secs(20)).expect("the child has computed");
    assert_eq!(parent, Answer(41));
    assert_eq!(cache.flights().len(), 0);
}

#[memcached(key = "changing:<n>", cache = cache, skip(cache, body), entry = changing_entry)]
fn changing(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
    body()
}

#[test]
fn a_caller_after_a_delete_does_not_wait_for_what_began_before() {
    let (server, caches) = caches();
    // The delete by this process, and by another one.
    for (cache, other) in [(&caches[0], &caches[0]), (&caches[1], &caches[1]), (&caches[1], &server.cache())] {
        let old = changing(cache, 1, || {
            changing_entry(other, 1).delete().unwrap();
            thread::scope(|scope| {
                let new = scope.spawn(|| changing(cache, 1, || 2));
                assert_eq!(new.join().unwrap(), 2);
            });
            1
        });
        assert_eq!(old, 1);
        assert_eq!(changing(cache, 1, || 3), 2);
        changing_entry(cache, 1).delete().unwrap();
    }
}

#[test]
fn callers_in_the_middle_of_a_computation_get_its_value_also_in_another_process() {
    #[memcached(key = "middle:<n>", cache = cache, skip(cache, body))]
    fn blocking(cache: &Cache, n: u32, body: impl FnOnce() -> Answer) -> Answer {
        body()
    }

    let server = Memcached::start();
    let (here, elsewhere) = (server.cache(), server.cache());
    thread::scope(|scope| {
        let leader = scope.spawn(|| {
            blocking(&here, 51, || {
                thread::sleep(Duration::from_millis(1_900));
                Answer(51)
            })
        });
        until("the leader", || (here.flights().len() == 1).then_some(()));
        let mut callers = Vec::new();
        for pause in [0, 300, 600] {
            thread::sleep(Duration::from_millis(pause));
            let call = |cache| scope.spawn(move || blocking(cache, 51, || panic!("one computes")));
            callers.extend([&here, &elsewhere].map(call));
        }
        callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap(), Answer(51)));
        assert_eq!(leader.join().unwrap(), Answer(51));
    });
    assert_eq!(here.flights().len() + elsewhere.flights().len(), 0);
}

#[memcached(key = "local:<n>", cache = cache, skip(cache, body), single_flight = local)]
fn local(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
    body()
}

/// The same function in another process.
#[memcached(key = "local:<n>", cache = cache, skip(cache, body), single_flight = local)]
fn local_elsewhere(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
    body()
}

#[memcached(key = "alone:<n>", cache = cache, skip(cache, body), single_flight = off)]
fn alone(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
    body()
}

#[test]
fn the_attribute_says_which_callers_share_a_computation() {
    let server = Memcached::start();
    let (here, elsewhere) = (server.cache(), server.cache());
    let begun = Instant::now();
    thread::scope(|scope| {
        let leads = || {
            local(&here, 1, || {
                // Another process does not wait.
                assert_eq!(local_elsewhere(&elsewhere, 1, || 2), 2);
                awaited(&here, "local:1", 1);
                1
            })
        };
        let leader = scope.spawn(leads);
        until("the leader", || (here.flights().len() == 1).then_some(()));
        assert_eq!(local(&here, 1, || panic!("one computes here")), 1);
        assert_eq!(leader.join().unwrap(), 1);
    });
    let one = alone(&here, 1, || {
        thread::scope(|scope| assert_eq!(scope.spawn(|| alone(&here, 1, || 2)).join().unwrap(), 2));
        1
    });
    assert_eq!(one, 1);
    assert!(begun.elapsed() < Duration::from_secs(4));
}
