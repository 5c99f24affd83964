//! Orders of events in which a cache could be left with an old value, made to happen on a
//! real server by a proxy that holds single requests back.
//!
//! Each process has a proxy of its own. A process is killed by cutting its proxy.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use memocached::{Cache, Error, Protocol, Writing, group, invalidates, memcached, updates};

use crate::support::memcached::{Memcached, until};
use crate::support::proxy::{Fault, Form, Pace, Proxy, Then};

const KEY: &str = "held:1";
const STAMP: &str = "memocached:group:held";

#[memcached(key = "held:<n>", ttl = 600, entry = value_entry, cache = cache, skip(cache, body))]
fn value(cache: &Cache, n: u64, body: impl FnOnce() -> u64) -> u64 {
    body()
}

group! {
    fn all() = "held";
}

#[memcached(key = "held:<n>", group = all(), ttl = 600, entry = grouped_entry, cache = cache, skip(cache, body))]
fn grouped(cache: &Cache, n: u64, body: impl FnOnce() -> u64) -> u64 {
    body()
}

fn cache_at(address: String, protocol: Protocol, timeout: Duration) -> Cache {
    Cache::builder().servers(address).protocol(protocol).timeout(timeout).build().unwrap()
}

/// A process behind a proxy, which waits for as long as a request is held.
fn process(server: &Memcached, protocol: Protocol) -> (Proxy, Cache) {
    let proxy = Proxy::before(server.port);
    let cache = cache_at(proxy.address(), protocol, Duration::from_secs(20));
    (proxy, cache)
}

fn direct(server: &Memcached, protocol: Protocol) -> Cache {
    cache_at(server.address(), protocol, Duration::from_secs(20))
}

fn on_each_protocol(test: impl Fn(&Memcached, Protocol)) {
    for protocol in [Protocol::Meta, Protocol::Ascii] {
        test(&Memcached::start(), protocol);
    }
}

/// Whether a request stores something under a key.
fn stores(line: &str, key: &str) -> bool {
    let mut words = line.split(' ');
    matches!(words.next(), Some("ms" | "set" | "add" | "cas")) && words.next() == Some(key)
}

#[test]
fn a_store_that_comes_late_does_not_count_after_a_change() {
    on_each_protocol(|server, protocol| {
        let ((reader, slow), writer) = (process(server, protocol), direct(server, protocol));
        std::thread::scope(|scope| {
            let (begun, begins) = channel();
            let (go, goes) = channel();
            let reading = scope.spawn(move || {
                value(&slow, 1, || {
                    begun.send(()).unwrap();
                    goes.recv().unwrap();
                    0
                })
            });
            begins.recv().unwrap();
            let held = reader.hold(|line| stores(line, KEY));
            go.send(()).unwrap();
            held.caught();
            Writing::begin(&value_entry(&writer, 1)).unwrap().done().unwrap();
            held.release();
            assert_eq!(reading.join().unwrap(), 0);
        });
        assert_eq!(value(&writer, 1, || 1), 1, "{protocol:?}");
    });
}

/// Its mark is written over by another writer, and ended by that one.
#[test]
fn a_killed_writer_keeps_its_entry_from_being_stored_though_another_has_ended() {
    on_each_protocol(|server, protocol| {
        let ((proxy, killed), [first, reader]) =
            (process(server, protocol), [(); 2].map(|()| direct(server, protocol)));
        for killed_is_first in [true, false] {
            let (mut one, mut other) = (None, None);
            for is_killed in [killed_is_first, !killed_is_first] {
                match is_killed {
                    true => one = Some(Writing::begin(&value_entry(&killed, 1)).unwrap()),
                    false => other = Some(Writing::begin(&value_entry(&first, 1)).unwrap()),
                }
            }
            other.take().unwrap().done().unwrap();
            // It reads the database before the commit of the one that is killed.
            assert_eq!(value(&reader, 1, || 1), 1);
            assert_eq!(value_entry(&reader, 1).get().unwrap(), None, "{protocol:?}, {killed_is_first}");
            if killed_is_first {
                one.take().unwrap().done().unwrap();
            } else {
                proxy.cut();
                std::mem::forget(one);
            }
        }
        // The mark of the dead writer ends by itself, and not before.
        assert_eq!(value(&reader, 1, || 1), 1);
        assert_eq!(value_entry(&reader, 1).get().unwrap(), None);
        until("the mark to end", || {
            value(&reader, 1, || 2);
            value_entry(&reader, 1).get().unwrap()
        });
        assert_eq!(value_entry(&reader, 1).get().unwrap(), Some(2));
    });
}

#[test]
fn an_update_that_comes_late_gives_way_to_a_writer_that_has_ended() {
    #[updates(value_entry(cache, 1))]
    fn update(cache: &Cache, meanwhile: impl FnOnce()) -> u64 {
        meanwhile();
        1
    }
    on_each_protocol(|server, protocol| {
        let ((proxy, slow), other) = (process(server, protocol), direct(server, protocol));
        std::thread::scope(|scope| {
            let (give, held) = channel();
            let proxy = &proxy;
            let updating = scope.spawn(move || {
                update(&slow, || give.send(proxy.hold(|line| stores(line, KEY))).unwrap());
            });
            let held = held.recv().unwrap();
            held.caught();
            Writing::begin(&value_entry(&other, 1)).unwrap().done().unwrap();
            held.release();
            updating.join().unwrap();
        });
        assert_eq!(value(&other, 1, || 2), 2, "{protocol:?}");
    });
}

/// An end that never arrives leaves the mark, and an end that arrives late removes no
/// other's.
#[test]
fn an_end_that_comes_late_leaves_the_mark_of_the_next_writer() {
    on_each_protocol(|server, protocol| {
        let ((proxy, slow), [next, reader]) = (process(server, protocol), [(); 2].map(|()| direct(server, protocol)));
        let writing = Writing::begin(&value_entry(&slow, 1)).unwrap();
        let held = proxy.hold(|line| line.split(' ').nth(1) == Some(KEY));
        std::thread::scope(|scope| {
            let ending = scope.spawn(move || writing.done());
            held.caught();
            let next = Writing::begin(&value_entry(&next, 1)).unwrap();
            held.release();
            ending.join().unwrap().unwrap();
            assert_eq!(value(&reader, 1, || 1), 1);
            assert_eq!(value_entry(&reader, 1).get().unwrap(), None, "{protocol:?}");
            next.done().unwrap();
        });
        assert_eq!(value(&reader, 1, || 2), 2);
        assert_eq!(value_entry(&reader, 1).get().unwrap(), Some(2));
    });
}

/// A mark outlasts the lag of reads even if its writer is killed right before a renewal.
#[test]
fn a_mark_stands_for_long_after_its_writer_was_killed() {
    let server = Memcached::start();
    for (lag, stands) in [(1, 10), (6, 18)] {
        let writing = Writing::begin_holding_off(&value_entry(&server.cache(), 1), Duration::from_secs(lag)).unwrap();
        let left = server.command(&format!("mg {KEY} t"));
        let left: u64 = left.trim_start_matches("HD t").parse().unwrap();
        assert!((stands - 1..=stands).contains(&left), "{left}");
        // It is renewed when a third has passed.
        assert!(left * 2 / 3 > lag);
        writing.done().unwrap();
        server.command("flush_all");
    }
}

/// Each attempt to invalidate draws a new number, so none makes an old one valid again.
#[test]
fn an_invalidation_that_is_repeated_makes_no_old_value_valid_again() {
    on_each_protocol(|server, protocol| {
        let proxy = Proxy::before(server.port);
        let first = cache_at(proxy.address(), protocol, Duration::from_millis(300));
        let [other, reader] = [(); 2].map(|()| direct(server, protocol));
        assert_eq!(grouped(&first, 1, || 0), 0);
        // The requests arrive and their replies are lost.
        proxy.inflict(Fault { form: Form::Nothing, pace: Pace::AtOnce, then: Then::Close }, 0);
        all().of_cache(&first).invalidate().unwrap_err();
        let read = |expected: u64| assert_eq!(grouped(&reader, 1, || expected), expected, "{protocol:?}");
        grouped(&reader, 1, || 1);
        let stamps = || server.stored(STAMP).unwrap();
        all().of_cache(&other).invalidate().unwrap();
        let valid = stamps();
        read(2);
        proxy.heal();
        until("the invalidation to be repeated", || (stamps() != valid).then_some(()));
        read(3);
    });
}

/// A stamp that a reader makes counts once it was read back.
#[test]
fn a_stamp_that_arrives_late_makes_no_old_value_valid() {
    on_each_protocol(|server, protocol| {
        let proxy = Proxy::before(server.port);
        let slow = cache_at(proxy.address(), protocol, Duration::from_millis(300));
        let held = proxy.hold(|line| stores(line, STAMP));
        let database = AtomicU64::new(0);
        let other = direct(server, protocol);
        // It goes on without having seen its stamp, and what it reads is old soon.
        assert_eq!(grouped(&slow, 1, || database.load(Ordering::SeqCst)), 0);
        database.store(1, Ordering::SeqCst);
        all().of_cache(&other).invalidate().unwrap();
        server.command(&format!("md {STAMP}"));
        held.release();
        until("the late stamp", || server.stored(STAMP));
        assert_eq!(grouped(&other, 1, || database.load(Ordering::SeqCst)), 1, "{protocol:?}");
    });
}

/// Callers wait for a computation under the same stamps only, be it in another process or
/// in theirs.
#[test]
fn nobody_waits_for_a_computation_from_before_an_invalidation() {
    // A site of its own: as long as nothing is known of its time, calls wait long.
    #[memcached(key = "under-way:<n>", group = all(), ttl = 600, cache = cache, skip(cache, body))]
    fn under_way(cache: &Cache, n: u64, body: impl FnOnce() -> u64) -> u64 {
        body()
    }
    let server = Memcached::start();
    let (here, other) = (server.cache(), server.cache());
    for (n, there) in [(1, &here), (2, &other)] {
        let (begun, begins) = channel();
        let (go, goes) = channel();
        std::thread::scope(|scope| {
            let here = &here;
            let old = scope.spawn(move || {
                under_way(here, n, || {
                    begun.send(()).unwrap();
                    // Callers that wait for it anyway get its value.
                    let _ = goes.recv_timeout(Duration::from_millis(500));
                    0
                })
            });
            begins.recv().unwrap();
            all().of_cache(&other).invalidate().unwrap();
            assert_eq!(under_way(there, n, || 1), 1);
            let _ = go.send(());
            assert_eq!(old.join().unwrap(), 0);
        });
        assert_eq!(under_way(there, n, || 2), 1);
    }
}

#[test]
fn a_group_whose_writer_was_killed_is_computed_anew_when_the_mark_has_ended() {
    #[invalidates(all().of_cache(cache))]
    fn change(cache: &Cache, kill: impl FnOnce()) -> Result<(), Error> {
        kill();
        Ok(())
    }
    let server = Memcached::start();
    let (proxy, killed) = process(&server, Protocol::Meta);
    let reader = server.cache();
    assert_eq!(grouped(&reader, 1, || 0), 0);
    std::thread::scope(|scope| {
        let (proxy, reader) = (&proxy, &reader);
        scope.spawn(move || {
            change(&killed, || {
                assert_eq!(grouped(reader, 1, || 1), 1);
                assert_eq!(grouped_entry(reader, 1).get().unwrap(), None);
                proxy.cut();
            })
        });
    });
    until("the mark to end", || {
        grouped(&reader, 1, || 2);
        grouped_entry(&reader, 1).get().unwrap()
    });
    assert_eq!(grouped(&reader, 1, || 3), 2);
}
