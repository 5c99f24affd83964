//! Servers that speak the meta protocol, older ones, and proxies: each is
//! asked in what it understands.

use std::cell::Cell;
use std::time::Duration;

use memocached::{AsyncClient, Cache, CasOutcome, Client, ErrorKind, Protocol, memcached};

use crate::support::asking::{MINUTE, is_served, of, refusals, wait_for};
use crate::support::client::only;
use crate::support::memcached::{Memcached, until};
use crate::support::older;
use crate::support::process::{again, output, role};
use crate::support::recording::{Recording, attribute, events};
use crate::support::tap::Tap;
use crate::support::twemproxy::Twemproxy;

#[memcached(key = "dialects:<n>", ttl = 60, cache = cache, skip(cache, during))]
fn value(cache: &Cache, n: u64, during: impl FnOnce()) -> u64 {
    during();
    n + 1
}

#[memcached(key = "dialects:async:<n>", ttl = 60, cache = cache, skip(cache))]
async fn async_value(cache: &Cache, n: u64) -> u64 {
    n + 1
}

/// Calls the verbs that concern keys, on keys of its own.
macro_rules! ask_for_keys {
    ($client:expr, $prefix:literal, ($($await:tt)*)) => {{
        let client = $client;
        let key = concat!($prefix, ":key");
        assert_eq!(client.get::<String>(key)$($await)*.unwrap(), None);
        assert!(!client.replace(key, "early", MINUTE)$($await)*.unwrap());
        assert!(client.add(key, "one", MINUTE)$($await)*.unwrap());
        assert!(!client.add(key, "late", MINUTE)$($await)*.unwrap());
        assert!(client.replace(key, "two", MINUTE)$($await)*.unwrap());
        assert!(client.append(key, ">")$($await)*.unwrap() && client.prepend(key, "<")$($await)*.unwrap());
        let found = client.gets::<String>(key)$($await)*.unwrap().unwrap();
        assert_eq!(found.value, "<two>");
        client.set(key, "three", MINUTE)$($await)*.unwrap();
        assert_eq!(client.cas(key, "four", found.cas, MINUTE)$($await)*.unwrap(), CasOutcome::Changed);
        let found = client.gets::<String>(key)$($await)*.unwrap().unwrap();
        assert_eq!(client.cas(key, "four", found.cas, MINUTE)$($await)*.unwrap(), CasOutcome::Stored);
        assert_eq!(client.get::<String>(key)$($await)*.unwrap().as_deref(), Some("four"));
        assert!(client.touch(key, MINUTE)$($await)*.unwrap());
        assert!(client.delete(key)$($await)*.unwrap() && !client.delete(key)$($await)*.unwrap());
        assert!(!client.touch(key, MINUTE)$($await)*.unwrap());
        assert_eq!(client.cas(key, "five", found.cas, MINUTE)$($await)*.unwrap(), CasOutcome::Missing);

        let number = concat!($prefix, ":number");
        assert_eq!(client.incr(number, 1)$($await)*.unwrap(), None);
        client.set(number, &9, MINUTE)$($await)*.unwrap();
        assert_eq!(client.incr(number, 2)$($await)*.unwrap(), Some(11));
        assert_eq!(client.decr(number, 20)$($await)*.unwrap(), Some(0));
        client.set(number, "nine", MINUTE)$($await)*.unwrap();
        assert_eq!(client.incr(number, 2)$($await)*.unwrap_err().kind(), ErrorKind::NotANumber);
        assert!(client.delete(number)$($await)*.unwrap());

        let keys: Vec<_> = (0..40).map(|n| format!(concat!($prefix, ":many:{}"), n)).collect();
        assert!(client.set_many(keys.iter().zip(0..), MINUTE)$($await)*.is_empty());
        let found = client.get_many::<i32>(&keys)$($await)*;
        assert!(found.failed.is_empty(), "{:?}", found.failed);
        assert_eq!(found.values.len(), 40);
        assert!(keys.iter().zip(0..).all(|(key, n)| found.values[key] == n));
        let found = client.gets_many::<i32>(keys.iter().chain([&keys[0], &key.to_owned()]))$($await)*;
        assert!(found.failed.is_empty() && found.values.len() == 40, "{found:?}");
        assert!(client.delete_many(&keys)$($await)*.is_empty());
        assert!(client.get_many::<i32>(&keys)$($await)*.values.is_empty());
    }};
}

/// Calls the other verbs.
macro_rules! ask_for_the_rest {
    ($client:expr, ($($await:tt)*)) => {{
        let client = $client;
        client.set("rest", &1, MINUTE)$($await)*.unwrap();
        assert_eq!(client.gat::<u8>("rest", MINUTE)$($await)*.unwrap(), Some(1));
        assert_eq!(client.gats::<u8>("rest", MINUTE)$($await)*.unwrap().unwrap().value, 1);
        assert_eq!(client.gat::<u8>("nothing", MINUTE)$($await)*.unwrap(), None);
        let stats = client.stats()$($await)*;
        assert!(stats.iter().all(|(_, counters)| counters.as_ref().unwrap().contains_key("curr_items")));
        assert!(only(client.stats_of("settings")$($await)*).unwrap().contains_key("maxbytes"));
        assert!(only(client.version()$($await)*).unwrap().starts_with("1."));
        assert!(only(client.cache_memlimit(64)$($await)*).is_ok());
        client.quit();
        assert!(only(client.flush_all(Duration::ZERO)$($await)*).is_ok());
        client.close();
        assert_eq!(client.get::<u8>("rest")$($await)*.unwrap(), None);
    }};
}

#[test]
fn every_verb_works_in_every_dialect() {
    let server = Memcached::start();
    let old = older::before(&server, 0);
    for (address, protocol) in [
        (server.address(), Protocol::Auto),
        (server.address(), Protocol::Meta),
        (server.address(), Protocol::Ascii),
        (format!("127.0.0.1:{old}"), Protocol::Auto),
    ] {
        let cache = of(&address).protocol(protocol).build().unwrap();
        is_served(&cache);
        ask_for_keys!(Client::of(&cache), "blocking", ());
        ask_for_the_rest!(Client::of(&cache), ());
        wait_for(async {
            ask_for_keys!(AsyncClient::of(&cache), "async", (.await));
            ask_for_the_rest!(AsyncClient::of(&cache), (.await));
        });
    }
}

/// What a client says to a modern server when it is told to speak so.
fn spoken(protocol: Protocol) -> String {
    let server = Memcached::start();
    let tap = Tap::before(server.port);
    is_served(&of(&format!("127.0.0.1:{}", tap.port)).protocol(protocol).build().unwrap());
    String::from_utf8_lossy(&tap.sent()).into_owned()
}

#[test]
fn a_modern_server_is_asked_what_it_speaks_once_and_then_for_leases() {
    let spoken = spoken(Protocol::Auto);
    assert!(spoken.starts_with("mn\r\n"), "{spoken}");
    assert_eq!(spoken.matches("mn\r\n").count(), 1, "{spoken}");
    let lookup = spoken.lines().find(|line| line.starts_with("mg asking:memoized:1 ")).unwrap();
    assert!(lookup.split(' ').any(|flag| flag.starts_with('N')), "{lookup}");
}

#[test]
fn a_server_is_not_asked_what_it_speaks_where_that_has_been_said() {
    let meta = spoken(Protocol::Meta);
    assert!(!meta.contains("mn\r\n") && meta.contains("mg asking:memoized:1 "), "{meta}");
    let ascii = spoken(Protocol::Ascii);
    assert!(!["mn\r\n", "mg asking", "ms asking", "md asking"].iter().any(|said| ascii.contains(said)), "{ascii}");
    assert!(ascii.contains("gets asking:memoized:1\r\n") && ascii.contains("add asking:memoized:1 "), "{ascii}");
}

#[test]
fn with_leases_only_one_of_two_calls_stores_and_without_both_do() {
    let server = Memcached::start();
    for protocol in [Protocol::Auto, Protocol::Ascii] {
        Client::of(&server.cache()).delete("dialects:7").unwrap();
        let cache = of(&server.address()).protocol(protocol).build().unwrap();
        let before = server.stat("cmd_set");
        assert_eq!(value(&cache, 7, || assert_eq!(value(&cache, 7, || {}), 8)), 8);
        assert_eq!(value(&cache, 7, || panic!("a hit computes nothing")), 8);
        // Without leases both calls try.
        let tried = if protocol == Protocol::Ascii { 2 } else { 1 };
        assert_eq!(server.stat("cmd_set") - before, tried, "{protocol:?}");
    }
}

#[test]
fn a_server_without_leases_is_reported_once_as_a_warning() {
    let server = Memcached::start();
    let old = format!("127.0.0.1:{}", older::before(&server, 0));
    for (address, protocol) in [(server.address(), Protocol::Ascii), (old, Protocol::Auto)] {
        let recording = Recording::begin();
        let cache = of(&address).protocol(protocol).build().unwrap();
        assert_eq!([(); 3].map(|()| value(&cache, 1, || {})), [2; 3]);
        assert_eq!(value(&cache, 2, || {}), 3);
        wait_for(async { assert_eq!([async_value(&cache, 1).await, async_value(&cache, 1).await], [2; 2]) });
        let spans = recording.spans();
        let calls = [spans.named("value"), spans.named("async_value")].concat();
        assert_eq!(calls.len(), 6);
        let warning = format!("{address} does not speak the meta protocol");
        let told = calls.iter().flat_map(|span| &span.events.events).filter(|event| event.name.starts_with(&warning));
        let levels: Vec<_> =
            told.map(|event| event.attributes.iter().find(|pair| pair.key.as_str() == "level").unwrap()).collect();
        assert_eq!(levels.len(), 1, "{address}");
        assert_eq!(levels[0].value.as_str(), "WARN");
        let hits = calls.iter().filter(|span| attribute(span, "cache.hit") == Some(true.into()));
        assert!(hits.clone().all(|span| events(span).contains(&"Cache hit")));
        // The second server has what the first was told: they are one.
        assert!(hits.count() >= 3);
    }
}

#[test]
fn a_modern_server_causes_no_warning() {
    let (server, recording) = (Memcached::start(), Recording::begin());
    value(&server.cache(), 1, || {});
    let spans = recording.spans();
    assert!(spans.named("value")[0].events.events.iter().all(|event| !event.name.contains("meta protocol")));
}

#[test]
fn an_older_server_refuses_a_client_that_insists_on_the_meta_protocol() {
    let server = Memcached::start();
    let address = format!("127.0.0.1:{}", older::before(&server, 0));
    for error in refusals(&of(&address).protocol(Protocol::Meta)) {
        assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    }
}

#[test]
fn a_server_that_takes_another_ones_place_is_asked_again_what_it_speaks() {
    let (mut modern, server) = (Memcached::start(), Memcached::start());
    let cache = of(&modern.address()).build().unwrap();
    let computed = Cell::new(0);
    let call = || value(&cache, 1, || computed.set(computed.get() + 1));
    assert_eq!([call(), call()], [2, 2]);
    modern.kill();
    older::before(&server, modern.port);
    until("the older server to be used", || {
        assert_eq!(call(), 2);
        server.stored("dialects:1")
    });
    computed.set(0);
    assert_eq!((call(), computed.get()), (2, 0));
}

#[test]
fn the_environment_names_the_protocol() {
    if role().is_some() {
        is_served(&Cache::from_env().unwrap());
        return;
    }
    for (name, meta) in [("auto", true), ("meta", true), ("ascii", false)] {
        let server = Memcached::start();
        let tap = Tap::before(server.port);
        output(
            again("behaviour::dialects::the_environment_names_the_protocol", "child")
                .env("MEMCACHED_SERVERS", format!("127.0.0.1:{}", tap.port))
                .env("MEMCACHED_PROTOCOL", name)
                .env("MEMCACHED_TIMEOUT", "20s")
                .env("MEMCACHED_CONNECT_TIMEOUT", "20s"),
        );
        let spoken = String::from_utf8_lossy(&tap.sent()).into_owned();
        assert_eq!(spoken.contains("mg asking:"), meta, "{name}: {spoken}");
    }
}

#[test]
fn keys_written_through_a_proxy_are_found_on_their_nodes_and_the_other_way_round() {
    let servers = [(); 2].map(|()| Memcached::start());
    let Some(proxy) = Twemproxy::before(&[&servers[0], &servers[1]]) else { return };
    let list = servers.each_ref().map(Memcached::address).join(",");
    let (direct, proxied) = (of(&list).build().unwrap(), of(&proxy.address()).build().unwrap());
    let (direct, proxied) = (Client::of(&direct), Client::of(&proxied));
    let (down, up): (Vec<_>, Vec<_>) = (0..200).map(|n| (format!("down:{n}"), format!("up:{n}"))).unzip();
    for (n, (down, up)) in (0..200).zip(down.iter().zip(&up)) {
        proxied.set(down, &n, MINUTE).unwrap();
        direct.set(up, &n, MINUTE).unwrap();
    }
    // One copy of each: by the same node for both.
    let held = servers.each_ref().map(|server| server.stat("curr_items"));
    assert_eq!(held.iter().sum::<u64>(), 400);
    assert!(held.iter().all(|held| *held > 100), "{held:?}");
    for (n, (down, up)) in (0..200).zip(down.iter().zip(&up)) {
        assert_eq!(direct.get::<i32>(down).unwrap(), Some(n), "{down}");
        assert_eq!(proxied.get::<i32>(up).unwrap(), Some(n), "{up}");
    }
    for (client, keys) in [(&direct, &down), (&proxied, &up), (&proxied, &down)] {
        let found = client.get_many::<i32>(keys);
        assert!(found.failed.is_empty(), "{:?}", found.failed.first());
        assert!((0..200).zip(keys).all(|(n, key)| found.values[key] == n));
    }
    assert!(proxied.delete_many(&up).is_empty() && direct.delete_many(&down).is_empty());
    assert_eq!(servers.each_ref().map(|server| server.stat("curr_items")), [0; 2]);
}

#[test]
fn a_proxy_is_found_to_speak_the_classic_protocol() {
    let servers = [(); 2].map(|()| Memcached::start());
    let Some(proxy) = Twemproxy::before(&[&servers[0], &servers[1]]) else { return };
    for protocol in [Protocol::Auto, Protocol::Ascii] {
        let cache = of(&proxy.address()).protocol(protocol).build().unwrap();
        is_served(&cache);
        ask_for_keys!(Client::of(&cache), "blocking", ());
        // Each kind of connection is a first one in turn.
        let cache = of(&proxy.address()).protocol(protocol).build().unwrap();
        wait_for(async { ask_for_keys!(AsyncClient::of(&cache), "async", (.await)) });
    }
    // Asked once, it hung up.
    let tap = Tap::before(proxy.port);
    is_served(&of(&format!("127.0.0.1:{}", tap.port)).build().unwrap());
    assert_eq!(String::from_utf8_lossy(&tap.sent()).matches("mn\r\n").count(), 1);
}

#[test]
fn a_verb_that_a_proxy_does_not_know_is_an_error_and_the_next_one_works() {
    let server = Memcached::start();
    let Some(proxy) = Twemproxy::before(&[&server]) else { return };
    let client = Client::of(&of(&proxy.address()).build().unwrap());
    client.set("key", "value", MINUTE).unwrap();
    assert_eq!(only(client.stats()).unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(client.get::<String>("key").unwrap().as_deref(), Some("value"));
}

#[test]
fn a_proxy_that_has_lost_a_server_serves_the_keys_of_the_other() {
    for lost in 0..2 {
        let mut servers = [(); 2].map(|()| Memcached::start());
        let Some(proxy) = Twemproxy::before(&[&servers[0], &servers[1]]) else { return };
        servers[lost].kill();
        let cache = of(&proxy.address()).build().unwrap();
        let keys: Vec<_> = (0..40).map(|n| format!("key:{n}")).collect();
        let failed = Client::of(&cache).set_many(keys.iter().map(|key| (key, 1)), MINUTE);
        assert!(failed.iter().all(|(_, error)| error.kind() == ErrorKind::Server), "{failed:?}");
        assert_eq!(servers[1 - lost].stat("curr_items"), 40 - failed.len() as u64);
        assert!((1..40).contains(&failed.len()), "{}", failed.len());
        let is_lost = |key: &String| failed.iter().any(|(lost, _)| lost == key);
        for key in keys.iter().filter(|key| !is_lost(key)) {
            assert_eq!(Client::of(&cache).get::<u64>(key).unwrap(), Some(1), "{key}");
        }
    }
}
