//! Several servers: each key on one of them, and only its keys gone with it.

use std::time::Duration;

use memocached::{Cache, Distribution, memcached};

use crate::support::memcached::Memcached;

#[memcached(key = "fib:<n>", ttl = 60, cache = cache, skip(cache))]
fn value(cache: &Cache, n: u64) -> u64 {
    n + 1
}

/// A busy machine is no outage.
const PATIENT: Duration = Duration::from_secs(2);

fn cluster() -> ([Memcached; 3], Cache) {
    let servers = [(); 3].map(|()| Memcached::start());
    let list = servers.iter().map(Memcached::address).collect::<Vec<_>>().join(",");
    (servers, Cache::builder().servers(list).timeout(PATIENT).build().unwrap())
}

#[test]
fn every_key_is_on_one_node_and_every_node_has_keys() {
    let (servers, cache) = cluster();
    for n in 0..200 {
        assert_eq!(value(&cache, n), n + 1);
    }
    for n in 0..200 {
        assert_eq!(value(&cache, n), n + 1);
        let holders = servers.iter().filter(|server| server.stored(&format!("fib:{n}")).is_some()).count();
        assert_eq!(holders, 1, "fib:{n}");
    }
    for server in &servers {
        assert!(server.items() > 20, "a fair share");
        assert_eq!(server.stat("cmd_set"), server.items(), "stored once each");
    }
}

#[test]
fn keys_are_spread_as_the_chosen_distribution_does() {
    let servers = [(); 3].map(|()| Memcached::start());
    let list = servers.iter().map(Memcached::address).collect::<Vec<_>>().join(" ");
    let cache = Cache::builder().servers(list).distribution(Distribution::Modula).timeout(PATIENT).build().unwrap();
    // `fib:0` to `fib:23` on three servers, as placed by libmemcached 1.1.4,
    // where only their order counts.
    let expected = [0, 0, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 2, 0, 2];
    for (n, place) in (0..).zip(expected) {
        value(&cache, n);
        assert!(servers[place].stored(&format!("fib:{n}")).is_some(), "fib:{n}");
    }
}

#[test]
fn a_namespace_leaves_keys_where_they_are() {
    let servers = [(); 3].map(|()| Memcached::start());
    let list = servers.iter().map(Memcached::address).collect::<Vec<_>>().join(" ");
    let bare = Cache::builder().servers(&list).timeout(PATIENT).build().unwrap();
    let named = Cache::builder().servers(&list).namespace("shop").timeout(PATIENT).build().unwrap();
    for n in 0..50 {
        assert_eq!((value(&bare, n), value(&named, n)), (n + 1, n + 1));
        let holds = |key: String| servers.each_ref().map(|server| server.stored(&key).is_some());
        let held = holds(format!("fib:{n}"));
        assert_eq!(held.iter().filter(|held| **held).count(), 1, "fib:{n}");
        assert_eq!(held, holds(format!("shop:fib:{n}")), "fib:{n}");
    }
}

#[test]
fn a_lost_node_takes_only_its_own_keys_along() {
    let (mut servers, cache) = cluster();
    (0..200).for_each(|n| assert_eq!(value(&cache, n), n + 1));
    servers[1].kill();
    for n in 0..200 {
        assert_eq!(value(&cache, n), n + 1);
    }
    let stored: u64 = [&servers[0], &servers[2]].map(|server| server.stat("cmd_set")).iter().sum();
    let kept: u64 = [&servers[0], &servers[2]].map(Memcached::items).iter().sum();
    assert_eq!(stored, kept, "no other node took over keys of the lost one");
}
