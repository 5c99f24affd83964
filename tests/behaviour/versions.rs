//! Two versions of a program run at once, each with a type of its own for what
//! they keep under the same keys.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use memocached::{Cache, Mode, Protocol, memcached, with_mode};

use crate::support::memcached::{Memcached, until};
use crate::support::process::{again, output, role};

macro_rules! version {
    ($version:ident { $($field:ident: $type:ty),* } $new:expr) => {
        mod $version {
            #![allow(dead_code, reason = "not every version is asked for all")]
            use super::*;

            #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
            pub(super) struct User { $(pub(super) $field: $type),* }

            pub(super) static COMPUTED: AtomicU32 = AtomicU32::new(0);

            /// On the process-wide cache.
            #[memcached(key = "versions:shared:<id>", ttl = 60)]
            pub(super) fn shared(id: u32) -> User {
                COMPUTED.fetch_add(1, Ordering::Relaxed);
                // Long enough that the other program waits while this one is busy.
                std::thread::sleep(Duration::from_millis(30));
                $new(id)
            }

            #[memcached(key = "versions:user:<id>", ttl = 60, entry = user_entry, cache = cache, skip(cache, during))]
            pub(super) fn user(cache: &Cache, id: u32, during: impl FnOnce()) -> User {
                during();
                $new(id)
            }

            /// Nothing is known of how long this takes, so it is waited for.
            #[memcached(key = "versions:waited:<id>", ttl = 60, cache = cache, skip(cache, during))]
            pub(super) fn waited(cache: &Cache, id: u32, during: impl FnOnce()) -> User {
                during();
                $new(id)
            }

            #[memcached(key = "versions:near:<id>", ttl = 60, near = "1m", cache = cache, skip(cache, during))]
            pub(super) fn near(cache: &Cache, id: u32, during: impl FnOnce()) -> User {
                during();
                $new(id)
            }

            #[memcached(
                key = "versions:graced:<id>", ttl = 60, grace = 60,
                entry = graced_entry, cache = cache, skip(cache, during)
            )]
            pub(super) fn graced(cache: &Cache, id: u32, during: impl FnOnce()) -> User {
                during();
                $new(id)
            }

            #[memcached(key = "versions:slow:<id>", ttl = 60, entry = slow_entry, cache = cache, skip(cache, during))]
            pub(super) async fn slow(cache: &Cache, id: u32, during: impl Future<Output = ()>) -> User {
                during.await;
                $new(id)
            }
        }
    };
}

version!(old { id: u32, age: u32 } | id | User { id, age: 30 });
version!(new { id: u32, age: Option<u32>, name: String } |id| User { id, age: None, name: "x".into() });
version!(newest { id: i64 } | id | User { id: i64::from(id) });

const KEYS: u32 = 50;

fn hit() {
    panic!("a hit computes nothing")
}

#[test]
fn two_programs_that_alternate_compute_each_value_once_each() {
    const TEST: &str = "behaviour::versions::two_programs_that_alternate_compute_each_value_once_each";
    if let Some(version) = role() {
        for _ in 0..5 {
            for id in 0..KEYS {
                match version.as_str() {
                    "old" => assert_eq!(old::shared(id).age, 30),
                    _ => assert_eq!(new::shared(id).name, "x"),
                }
            }
        }
        println!("computed {}", old::COMPUTED.load(Ordering::Relaxed) + new::COMPUTED.load(Ordering::Relaxed));
        return;
    }
    let server = Memcached::start();
    let program = |version| {
        let mut program = again(TEST, version);
        program.env("MEMCACHED_TIMEOUT", "10s").env("MEMCACHED_CONNECT_TIMEOUT", "10s");
        let printed = output(program.env("MEMCACHED_SERVERS", server.address()));
        let (_, computed) = printed.split_once("computed ").expect("a count");
        computed.lines().next().unwrap().parse::<u32>().expect("a number")
    };
    assert_eq!((program("old"), program("new")), (KEYS, KEYS));
    assert_eq!((program("old"), program("new"), program("old")), (0, 0, 0), "1,250 calls in all");
    assert_eq!(server.command("flush_all"), "OK");
    let (old, new) = std::thread::scope(|scope| {
        let old = scope.spawn(|| program("old"));
        (program("new"), old.join().unwrap())
    });
    assert_eq!((old, new), (KEYS, KEYS), "at the same time, from nothing");
}

/// On caches of their own, as in two processes.
#[test]
fn a_thousand_calls_in_turn_are_hits_with_one_more_request_for_the_second_version() {
    let server = Memcached::start();
    let (first, second) = (server.cache(), server.cache());
    let mut computed = [0; 2];
    for call in 0..1_000 {
        assert_eq!(old::user(&first, call % 10, || computed[0] += 1).id, call % 10);
        assert_eq!(new::user(&second, call % 10, || computed[1] += 1).name, "x");
    }
    assert_eq!(computed, [10, 10]);
    assert_eq!(server.stat("cmd_set"), 20);
    let before = server.stat("cmd_get");
    old::user(&first, 1, hit);
    assert_eq!(server.stat("cmd_get") - before, 1, "the first version asks once");
    new::user(&second, 1, hit);
    assert_eq!(server.stat("cmd_get") - before, 3);
}

#[test]
fn a_third_version_has_a_value_of_its_own() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let mut computed = 0;
        for _ in 0..3 {
            old::user(&cache, 1, || computed += 1);
            new::user(&cache, 1, || computed += 1);
            newest::user(&cache, 1, || computed += 1);
        }
        assert_eq!(computed, 3);
    }
}

#[test]
fn what_either_version_deletes_or_puts_is_gone_for_both() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let fill = || {
            old::user(&cache, 7, || {});
            new::user(&cache, 7, || {});
            assert_eq!(old::user_entry(&cache, 7).get().unwrap().unwrap().age, 30);
            assert_eq!(new::user_entry(&cache, 7).get().unwrap().unwrap().name, "x");
            assert!(new::user_entry(&cache, 7).info().unwrap().is_some());
        };
        let both_compute = |after: &str| {
            let mut computed = 0;
            new::user(&cache, 7, || computed += 1);
            old::user(&cache, 7, || computed += 1);
            assert_eq!(computed, 2, "{after}");
        };
        fill();
        assert!(old::user_entry(&cache, 7).delete().unwrap());
        assert_eq!(new::user_entry(&cache, 7).get().unwrap(), None);
        both_compute("a delete by the first version");
        assert!(old::user_entry(&cache, 7).delete().unwrap());
        fill();
        assert!(new::user_entry(&cache, 7).delete().unwrap());
        assert_eq!(old::user_entry(&cache, 7).get().unwrap(), None);
        both_compute("a delete by the second version");
        assert!(new::user_entry(&cache, 7).invalidate().unwrap());
        both_compute("an invalidation");

        let put = new::User { id: 7, age: Some(1), name: "put".into() };
        new::user_entry(&cache, 7).put(&put).unwrap();
        assert_eq!(new::user(&cache, 7, hit), put);
        let mut computed = 0;
        old::user(&cache, 7, || computed += 1);
        assert_eq!(computed, 1, "what was before the put is gone");
        old::user_entry(&cache, 7).put(&old::User { id: 7, age: 99 }).unwrap();
        assert_eq!(old::user(&cache, 7, hit).age, 99);
        new::user(&cache, 7, || computed += 1);
        assert_eq!(computed, 2);
        with_mode(Mode::Refresh, || new::user(&cache, 7, || {}));
        old::user(&cache, 7, || computed += 1);
        assert_eq!(computed, 3, "a refresh by one is news for the other");
    }
}

#[test]
fn an_invalidated_value_is_computed_anew_by_both_behind_its_time() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let mut computed = 0;
        old::graced(&cache, 1, || {});
        new::graced(&cache, 1, || {});
        assert!(new::graced_entry(&cache, 1).invalidate().unwrap());
        for _ in 0..3 {
            new::graced(&cache, 1, || computed += 1);
            old::graced(&cache, 1, || computed += 1);
        }
        assert_eq!(computed, 2);
    }
}

#[test]
fn the_second_versions_value_from_before_a_delete_is_no_hit_after_it() {
    let server = Memcached::start();
    let embedded = Cache::embedded();
    for (theirs, cache) in [(server.cache(), server.cache()), (embedded.clone(), embedded)] {
        old::user(&theirs, 3, || {});
        new::user(&cache, 3, || {
            assert!(old::user_entry(&theirs, 3).delete().unwrap());
            old::user(&theirs, 3, || {});
        });
        let mut computed = 0;
        new::user(&cache, 3, || computed += 1);
        assert_eq!(computed, 1, "it stood beside an item that is gone");
        new::user(&cache, 3, hit);
    }
}

#[test]
fn a_call_after_a_delete_does_not_get_what_was_begun_before_it() {
    let server = Memcached::start();
    let (theirs, cache) = (server.cache(), server.cache());
    let mut computed = 0;
    old::user(&theirs, 5, || {});
    std::thread::scope(|scope| {
        new::user(&cache, 5, || {
            assert!(old::user_entry(&theirs, 5).delete().unwrap());
            old::user(&theirs, 5, || {});
            let before = server.stat("cmd_get");
            scope.spawn(|| new::user(&cache, 5, || computed += 1));
            until("the other caller to ask in both places", || (server.stat("cmd_get") >= before + 2).then_some(()));
        });
    });
    assert_eq!(computed, 1);
}

#[test]
fn a_call_waits_for_another_that_computes_the_second_versions_value() {
    let server = Memcached::start();
    let (cache, elsewhere) = (server.cache(), server.cache());
    old::waited(&cache, 6, || {});
    std::thread::scope(|scope| {
        let mut others = Vec::new();
        let computed = new::waited(&cache, 6, || {
            let before = server.stat("cmd_get");
            others.extend([&cache, &elsewhere].map(|cache| scope.spawn(move || new::waited(cache, 6, hit))));
            until("both to ask in both places", || (server.stat("cmd_get") >= before + 4).then_some(()));
        });
        assert_eq!(computed.name, "x");
        others.into_iter().for_each(|other| assert_eq!(other.join().unwrap(), computed));
    });
}

#[test]
fn the_second_versions_value_is_kept_near_too() {
    let server = Memcached::start();
    let (theirs, cache) = (server.cache(), server.cache());
    old::near(&theirs, 1, || {});
    new::near(&cache, 1, || {});
    let before = server.stat("cmd_get");
    new::near(&cache, 1, hit);
    old::near(&theirs, 1, hit);
    assert_eq!(server.stat("cmd_get"), before);
}

#[tokio::test]
async fn async_functions_of_two_versions_compute_once_each() {
    let server = Memcached::start();
    for cache in [server.cache(), Cache::embedded()] {
        let mut computed = 0;
        for _ in 0..3 {
            old::slow(&cache, 1, async { computed += 1 }).await;
            new::slow(&cache, 1, async { computed += 1 }).await;
        }
        assert_eq!(computed, 2);
        assert_eq!(new::slow_entry(&cache, 1).get().await.unwrap().unwrap().name, "x");
        assert!(new::slow_entry(&cache, 1).delete().await.unwrap());
        old::slow(&cache, 1, async { computed += 1 }).await;
        new::slow(&cache, 1, async { computed += 1 }).await;
        assert_eq!(computed, 4);
    }
}

#[test]
fn servers_without_leases_hold_two_versions_too() {
    let server = Memcached::start();
    let builder = Cache::builder().servers(server.address()).protocol(Protocol::Ascii);
    let cache = builder.timeout(Duration::from_secs(2)).build().unwrap();
    let mut computed = 0;
    for _ in 0..3 {
        old::user(&cache, 1, || computed += 1);
        new::user(&cache, 1, || computed += 1);
    }
    assert_eq!(computed, 2);
    assert!(new::user_entry(&cache, 1).delete().unwrap());
    old::user(&cache, 1, || computed += 1);
    new::user(&cache, 1, || computed += 1);
    assert_eq!(computed, 4);
}
