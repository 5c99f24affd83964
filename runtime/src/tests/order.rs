//! A value that is older than a change is not stored, kept or served after it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use memocached::{Writing, group, memcached, updates};

use crate::cache::Cache;
use crate::call::mode::{Mode, with_mode};
use crate::client::Client;
use crate::config::Settings;
use crate::exchange::{Guard, Reply, Request, Verb};
use crate::memcached::{Memcached, until};
use crate::proxy::{Fault, Form, Held, Pace, Proxy, Then};
use crate::server::Protocol;
use crate::time::clock::Clock;

const SECOND: Duration = Duration::from_secs(1);

/// Two processes on the embedded store, and two on a real server.
fn pairs() -> (Memcached, [[Cache; 2]; 2]) {
    let server = Memcached::start();
    let embedded = Cache::embedded();
    let other = embedded.in_another_process(&Clock::system());
    let real = [server.cache(), server.cache()];
    (server, [[embedded, other], real])
}

fn never() -> u32 {
    panic!("it is stored")
}

#[memcached(key = "order:<n>", ttl = 100, cache = cache, skip(cache, body))]
fn plain(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
    body()
}

#[test]
fn a_refresh_wins_over_a_computation_that_began_before() {
    let (_server, pairs) = pairs();
    for [one, other] in pairs {
        let older = plain(&one, 1, || {
            assert_eq!(with_mode(Mode::Refresh, || plain(&other, 1, || 2)), 2);
            assert_eq!(plain(&other, 1, never), 2);
            1
        });
        assert_eq!(older, 1);
        assert_eq!([plain(&one, 1, never), plain(&other, 1, never)], [2, 2]);
    }
}

#[test]
fn a_refresh_that_comes_too_late_removes_what_an_older_computation_has_stored() {
    #[memcached(key = "order:ahead:<n>", ttl = 100, refresh_ahead = 60, cache = cache, skip(cache, body))]
    fn ahead(cache: &Cache, n: u32, body: &dyn Fn() -> u32) -> u32 {
        body()
    }
    let clock = Clock::manual();
    let one = Cache::at(Settings::default(), &clock).expect("the default settings");
    let other = one.in_another_process(&clock);
    assert_eq!(ahead(&one, 1, &|| 0), 0);
    clock.advance(50 * SECOND);
    let ((asked, ask), (done, end)) = (mpsc::channel(), mpsc::channel());
    thread::scope(|scope| {
        let one = &one;
        let older = scope.spawn(move || {
            ahead(one, 1, &|| {
                asked.send(()).unwrap();
                end.recv().unwrap();
                1
            })
        });
        ask.recv().unwrap();
        let refresh = || {
            ahead(&other, 1, &|| {
                let before = item(&other, "order:ahead:1");
                done.send(()).unwrap();
                until("the older value", || (item(&other, "order:ahead:1") != before).then_some(()));
                2
            })
        };
        assert_eq!(with_mode(Mode::Refresh, refresh), 2);
        assert_eq!(older.join().unwrap(), 1);
    });
    assert_eq!(ahead(&one, 1, &|| 3), 3);
}

/// The number of a key's item.
fn item(cache: &Cache, key: &str) -> Option<u64> {
    match cache.store().ask(Verb::Get, &Request::Peek { key }, &cache.budget()) {
        Ok(Reply::Found(item)) => Some(item.cas),
        _ => None,
    }
}

/// Two processes that speak the classic protocol, the first one through a proxy.
fn classic_pair() -> (Arc<Memcached>, Proxy, [Cache; 2]) {
    let server = Arc::new(Memcached::start());
    let proxy = Proxy::before(server.port);
    let caches = [proxy.address(), server.address()].map(|address| {
        let builder = Cache::builder().servers(address).protocol(Protocol::Ascii).timeout(2 * SECOND);
        builder.build().expect("a server")
    });
    (server, proxy, caches)
}

/// Removes each lease for this key after it was added, before it is read for its number.
fn lose_leases(server: &Arc<Memcached>, proxy: &Proxy, key: &'static str) -> Held {
    let (server, is_added) = (Arc::clone(server), AtomicBool::new(false));
    proxy.hold(move |request| {
        if request == format!("gets {key}") && is_added.swap(false, Ordering::SeqCst) {
            server.command(&format!("delete {key}"));
        }
        is_added.fetch_or(request.starts_with(&format!("add {key} ")), Ordering::SeqCst);
        false
    })
}

#[test]
fn nothing_is_stored_where_the_lease_was_gone_before_it_was_read() {
    let (server, proxy, [one, other]) = classic_pair();
    let _losing = lose_leases(&server, &proxy, "order:1");
    let older = plain(&one, 1, || {
        // A change that finds nothing to delete.
        assert!(!Client::of(&other).delete("order:1").unwrap());
        1
    });
    assert_eq!((older, plain(&other, 1, || 2)), (1, 2));
}

#[test]
fn a_refresh_whose_lease_is_gone_is_not_overlooked() {
    let (server, proxy, [one, _]) = classic_pair();
    assert_eq!((near(&one, 1, || 1), near(&one, 1, never)), (1, 1));
    server.command("delete order:near:1");
    let _losing = lose_leases(&server, &proxy, "order:near:1");
    assert_eq!(with_mode(Mode::Refresh, || near(&one, 1, || 2)), 2);
    assert_eq!(near(&one, 1, || 3), 3);
}

#[test]
fn a_refresh_that_is_too_large_removes_the_value_before() {
    #[memcached(key = "order:large:<n>", ttl = 100, near = 50, cache = cache, skip(cache, body))]
    fn large(cache: &Cache, n: u32, body: impl FnOnce() -> Vec<u8>) -> Vec<u8> {
        body()
    }
    let (_server, pairs) = pairs();
    for [one, other] in pairs {
        assert_eq!(large(&one, 1, || vec![1]), [1]);
        assert_eq!(with_mode(Mode::Refresh, || large(&one, 1, || vec![2; 2 << 20])).len(), 2 << 20);
        assert_eq!((large(&one, 1, || vec![3]), large(&other, 1, || panic!("it is stored"))), (vec![3], vec![3]));
    }
}

/// A value of groups that is stored may have been invalidated before, and its own lease tells
/// nothing of that.
#[test]
fn a_value_of_a_group_is_near_from_when_its_stamps_were_read() {
    #[memcached(key = "order:brief:<n>", ttl = 100, near = 1, group = all(), cache = cache, skip(cache, body))]
    fn member(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
        body()
    }
    let clock = Clock::manual();
    let one = Cache::at(Settings::default(), &clock).expect("the default settings");
    let other = one.in_another_process(&clock);
    let older = member(&one, 1, || {
        all().of_cache(&other).invalidate().expect("it is");
        clock.advance(2 * SECOND);
        1
    });
    assert_eq!((older, member(&one, 1, || 2)), (1, 2));
}

/// What vouches for the value of a second version was seen under the key, and not beside it.
#[test]
fn a_sibling_is_near_from_when_its_anchor_was_seen() {
    #[memcached(key = "order:both:<n>", ttl = 100, cache = cache, skip(cache, body))]
    fn first(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
        body()
    }
    #[memcached(key = "order:both:<n>", ttl = 100, near = 1, cache = cache, skip(cache, body))]
    fn second(cache: &Cache, n: u32, body: impl FnOnce() -> String) -> String {
        body()
    }
    let clock = Clock::manual();
    let one = Cache::at(Settings::default(), &clock).expect("the default settings");
    let other = one.in_another_process(&clock);
    assert_eq!(first(&other, 1, || 0), 0);
    let older = second(&one, 1, || {
        assert!(Client::of(&other).delete("order:both:1").expect("a reply"));
        clock.advance(2 * SECOND);
        "older".into()
    });
    assert_eq!((older.as_str(), second(&one, 1, || "newer".into()).as_str()), ("older", "newer"));
}

/// A computation that began before a soft invalidation is not joined after it, nor while
/// another writer is at work on the group.
#[test]
fn a_call_joins_no_computation_from_before_its_group_was_softly_invalidated() {
    macro_rules! overtaken {
        ($begin:expr) => {{
            #[memcached(key = "fresh:<n>", ttl = 100, group = all(), cache = cache, skip(cache, body))]
            fn member(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
                body()
            }
            let server = Memcached::start();
            let [one, other] = [server.cache(), server.cache()];
            let begin: fn(&Cache) -> Option<Writing> = $begin;
            let writing = begin(&other);
            thread::scope(|scope| {
                let mut later = None;
                let older = member(&one, 1, || {
                    all().of_cache(&other).invalidate_softly().expect("it is");
                    later = Some(begin_later(scope, &one, || member(&one, 1, || 2)));
                    1
                });
                assert_eq!((older, later.unwrap().join().unwrap()), (1, 2));
            });
            writing.into_iter().for_each(|writing| _ = writing.done().expect("it ends"));
        }};
    }
    overtaken!(|_| None);
    overtaken!(|other| Some(Writing::begin(&all().of_cache(other)).expect("it marks")));
}

/// Where a group's stamp cannot be made, an invalidation has nothing to change.
#[test]
fn a_call_without_the_stamps_of_its_groups_joins_no_computation_from_before() {
    #[memcached(key = "fresh:<n>", ttl = 100, group = all(), cache = cache, skip(cache, body))]
    fn member(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
        body()
    }
    let server = Arc::new(Memcached::start());
    let proxy = Proxy::before(server.port);
    let one = Cache::builder().servers(proxy.address()).timeout(2 * SECOND).build().expect("a server");
    let other = server.cache();
    let (deleting, stamp, is_made) = (Arc::clone(&server), all().stamp_key(&one), AtomicBool::new(false));
    let _losing = proxy.hold(move |request| {
        if request.starts_with(&format!("mg {stamp} ")) && is_made.swap(false, Ordering::SeqCst) {
            deleting.command(&format!("delete {stamp}"));
        }
        is_made.fetch_or(request.starts_with(&format!("ms {stamp} ")), Ordering::SeqCst);
        false
    });
    thread::scope(|scope| {
        let mut later = None;
        let older = member(&one, 1, || {
            all().of_cache(&other).invalidate().expect("there is nothing to change");
            later = Some(begin_later(scope, &one, || member(&one, 1, || 2)));
            1
        });
        assert_eq!((older, later.unwrap().join().unwrap()), (1, 2));
    });
}

#[test]
fn a_refresh_without_a_value_removes_the_one_before() {
    #[memcached(key = "order:none:<n>", ttl = 100, cache = cache, skip(cache, body))]
    fn none(cache: &Cache, n: u32, body: impl FnOnce() -> Option<u32>) -> Option<u32> {
        body()
    }
    let (_server, pairs) = pairs();
    for [one, other] in pairs {
        assert_eq!(none(&one, 1, || Some(1)), Some(1));
        assert_eq!(with_mode(Mode::Refresh, || none(&other, 1, || None)), None);
        assert_eq!(none(&one, 1, || Some(2)), Some(2));
    }
}

#[test]
fn a_refresh_keeps_a_writer_from_leaving_what_is_older() {
    #[memcached(key = "order:<n>", ttl = 100, entry = entry, cache = cache, skip(cache))]
    fn row(cache: &Cache, n: u32) -> u32 {
        2
    }
    #[updates(entry(cache, 1))]
    fn writes(cache: &Cache, then: impl FnOnce()) -> u32 {
        then();
        1
    }
    let (_server, pairs) = pairs();
    for [one, other] in pairs {
        let refresh = || assert_eq!(with_mode(Mode::Refresh, || row(&other, 1)), 2);
        assert_eq!(writes(&one, refresh), 1);
        assert_eq!(row(&other, 1), 2);
    }
}

group! {
    fn all() = "order:all";
}

/// A refresh that may not store, since the group is being changed, is one nevertheless.
#[test]
fn a_refresh_beside_a_writer_of_the_group_is_not_overlooked() {
    #[memcached(
        key = "order:member:<n>", ttl = 100, near = 50, group = all(), cache = cache, skip(cache, body)
    )]
    fn member(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
        body()
    }
    let (_server, pairs) = pairs();
    for [one, other] in pairs {
        assert_eq!(member(&one, 1, || 1), 1);
        // Evicted, so that the refresh wins a lease.
        let evicting = Request::Delete { key: "order:member:1", guard: Guard::None };
        one.store().ask(Verb::Delete, &evicting, &one.budget()).expect("it is gone");
        let writing = Writing::begin(&all().of_cache(&other)).expect("it marks");
        assert_eq!(with_mode(Mode::Refresh, || member(&one, 1, || 2)), 2);
        assert_eq!(member(&one, 1, || 3), 3);
        writing.done().expect("it ends");
    }
}

#[memcached(key = "order:near:<n>", ttl = 100, near = 50, cache = cache, skip(cache, body))]
fn near(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
    body()
}

/// A site of its own, of which it is not known how long computing takes: its leader is
/// waited for.
macro_rules! fresh {
    (near) => {
        #[memcached(key = "fresh:<n>", ttl = 100, near = 50, cache = cache, skip(cache, body))]
        fn near(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
            body()
        }
    };
    (plain) => {
        #[memcached(key = "fresh:<n>", ttl = 100, cache = cache, skip(cache, body))]
        fn plain(cache: &Cache, n: u32, body: impl FnOnce() -> u32) -> u32 {
            body()
        }
    };
}

/// Begins a call within the body of an older one, and waits until it joins that one or
/// ends.
fn begin_later<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    cache: &Cache,
    call: impl FnOnce() -> u32 + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, u32> {
    let (later, key) = (scope.spawn(call), "fresh:1");
    until("the later call to join or to end", || {
        (cache.flights().waiting(key) == 1 || later.is_finished()).then_some(())
    });
    later
}

#[test]
fn a_near_call_joins_no_computation_that_began_before_it_may_overlook_a_delete() {
    fresh!(near);
    let clock = Clock::manual();
    let one = Cache::at(Settings::default(), &clock).expect("the default settings");
    let other = one.in_another_process(&clock);
    thread::scope(|scope| {
        let mut later = None;
        let older = near(&one, 1, || {
            clock.advance(51 * SECOND);
            Client::of(&other).delete("fresh:1").unwrap();
            later = Some(begin_later(scope, &one, || near(&one, 1, || 2)));
            1
        });
        assert_eq!((older, later.unwrap().join().unwrap()), (1, 2));
    });
}

/// Its lookup is late, so what it would have told of a delete is unknown.
#[test]
fn a_call_without_a_reply_joins_no_computation_from_before_a_delete() {
    fresh!(plain);
    let server = Memcached::start();
    let proxy = Proxy::before(server.port);
    let one = Cache::builder().servers(proxy.address()).timeout(SECOND / 10).build().expect("a valid server");
    let other = server.cache();
    thread::scope(|scope| {
        let mut later = None;
        let older = plain(&one, 1, || {
            Client::of(&other).delete("fresh:1").unwrap();
            proxy.inflict(Fault { form: Form::Whole, pace: Pace::Late(10 * SECOND), then: Then::GoOn }, 0);
            later = Some(begin_later(scope, &one, || plain(&one, 1, || 2)));
            proxy.heal();
            1
        });
        assert_eq!((older, later.unwrap().join().unwrap()), (1, 2));
    });
}

#[test]
fn a_call_on_a_server_without_numbers_joins_no_computation_from_before_a_change() {
    macro_rules! joins_none {
        ($change:expr) => {{
            fresh!(plain);
            let server = Memcached::start_with(&["-C"]);
            let [one, other] = [server.cache(), server.cache()];
            // So that it is known to have none.
            assert_eq!(super::order::plain(&one, 0, || 0), 0);
            let change: fn(&Cache) -> Option<Writing> = $change;
            thread::scope(|scope| {
                let (mut later, mut writing) = (None, None);
                let older = plain(&one, 1, || {
                    writing = change(&other);
                    later = Some(begin_later(scope, &one, || plain(&one, 1, || 2)));
                    1
                });
                assert_eq!((older, later.unwrap().join().unwrap()), (1, 2));
            });
            Client::of(&other).delete("fresh:1").unwrap();
            assert_eq!(plain(&one, 1, || 3), 3);
        }};
    }
    joins_none!(|other| {
        Client::of(other).delete("fresh:1").unwrap();
        None
    });
    joins_none!(|other| {
        Client::of(other).set("fresh:1", "another's", 60 * SECOND).unwrap();
        None
    });
    joins_none!(|other| {
        #[memcached(key = "fresh:<n>", ttl = 100, entry = entry, cache = cache, skip(cache))]
        fn row(cache: &Cache, n: u32) -> u32 {
            n
        }
        entry(other, 1).delete().unwrap();
        // The next writer.
        Some(Writing::begin(&entry(other, 1)).unwrap())
    });
}

#[test]
fn a_server_without_numbers_takes_no_leases_from_the_others() {
    let (servers, mut leases) = ([Memcached::start(), Memcached::start_with(&["-C"])], 0);
    let list = servers.each_ref().map(Memcached::address).join(",");
    let cache = Cache::builder().servers(list).timeout(2 * SECOND).build().expect("valid servers");
    for n in 0..40 {
        let key = format!("order:{n}");
        let mut is_lease = false;
        plain(&cache, n, || {
            is_lease = servers[0].stored(&key).is_some_and(|value| value.is_empty());
            n
        });
        if servers[0].stored(&key).is_some() {
            assert!(is_lease, "{key} had none");
            leases += 1;
        }
    }
    assert!((1..40).contains(&leases), "{leases} of 40 on the healthy one");
}

#[test]
fn what_a_client_changes_is_not_served_near() {
    let (_server, pairs) = pairs();
    for [cache, _] in pairs {
        let client = Client::of(&cache);
        let changes: [&dyn Fn(); 5] = [
            &|| assert!(client.delete("order:near:1").unwrap()),
            &|| assert!(client.delete_many(["order:near:1"]).is_empty()),
            &|| client.set("order:near:1", "another's", SECOND).unwrap(),
            &|| assert!(client.set_many([("order:near:1", "another's")], SECOND).is_empty()),
            &|| assert!(client.flush_all(Duration::ZERO).iter().all(|(_, flushed)| flushed.is_ok())),
        ];
        for (number, change) in (1..).zip(changes) {
            assert_eq!(near(&cache, 1, || number), number);
            assert_eq!(near(&cache, 1, never), number);
            change();
        }
        assert_eq!(near(&cache, 1, || 6), 6);
    }
}

#[test]
fn an_item_tells_functions_without_grace_that_its_ttl_is_over() {
    #[memcached(key = "order:released", ttl = 10, grace = 50, cache = cache, skip(cache, body))]
    fn later(cache: &Cache, body: impl FnOnce() -> u32) -> u32 {
        body()
    }
    #[memcached(key = "order:released", ttl = 10, cache = cache, skip(cache, body), entry = earlier_entry)]
    fn earlier(cache: &Cache, body: impl FnOnce() -> u32) -> u32 {
        body()
    }
    let clock = Clock::manual();
    let cache = Cache::at(Settings::default(), &clock).expect("the default settings");
    assert_eq!(later(&cache, || 1), 1);
    assert_eq!(earlier(&cache, never), 1);
    clock.advance(11 * SECOND);
    assert_eq!(earlier_entry(&cache).get().unwrap(), None);
    assert_eq!(earlier(&cache, || 2), 2);
    // The other way round it is refreshed early, so that there is a grace again.
    assert_eq!(later(&cache, || 3), 3);
    clock.advance(11 * SECOND);
    assert_eq!(earlier(&cache, || 4), 4);
}

#[test]
fn a_value_computed_before_a_server_was_restarted_is_not_stored_after_it() {
    let mut server = Memcached::start();
    let [one, other] = [server.cache(), server.cache()];
    // What another program wrote is replaced, if it is still there: it has a number but
    // no lease, which would be lost as soon as it cannot be renewed.
    assert_eq!(plain(&one, 0, || 0), 0);
    server.store("order:2", 0, b"of another program");
    let number = number(&server, "order:2");
    let (computes, ends) = (mpsc::channel(), mpsc::channel());
    thread::scope(|scope| {
        // Dropped by a panic, which ends the other computation.
        let (ended, end) = ends;
        let computing = &computes.0;
        let older = plain(&one, 2, || {
            server.kill();
            server = Memcached::restart(server.port);
            let (computing, other) = (computing.clone(), &other);
            let client = Client::of(other);
            // The next number but one is that of the item before: a connection asks for the
            // server's life first.
            until("the number", || {
                client.set("order:filler", "1", 60 * SECOND).ok()?;
                (self::number(&server, "order:filler") >= number - 2).then_some(())
            });
            assert_eq!(self::number(&server, "order:filler"), number - 2);
            scope.spawn(move || {
                plain(other, 2, || {
                    computing.send(()).unwrap();
                    let _ = end.recv();
                    2
                })
            });
            computes.1.recv().unwrap();
            assert_eq!(self::number(&server, "order:2"), number);
            let client = Client::of(&one);
            until("the new server", || client.get::<String>("order:filler").ok());
            1
        });
        assert_eq!(older, 1);
        ended.send(()).unwrap();
    });
    assert_eq!(plain(&one, 2, never), 2);
}

/// The number that the server itself gives an item.
fn number(server: &Memcached, key: &str) -> u64 {
    let told = server.command(&format!("mg {key} c"));
    told.split(' ').find_map(|word| word.strip_prefix('c')?.parse().ok()).unwrap_or_default()
}
