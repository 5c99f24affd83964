//! Items larger than memcached's default, on servers that were started for them
//! and on servers that were not.

use std::cell::Cell;

use memocached::{Builder, Cache, Client, ErrorKind, Mode, memcached, with_mode};

use crate::support::asking::{MINUTE, PATIENCE};
use crate::support::memcached::Memcached;
use crate::support::process::{again, output, role};
use crate::support::recording::Recording;

thread_local! {
    /// How often this thread, and so this test, has computed.
    static COMPUTED: Cell<u32> = const { Cell::new(0) };
}

#[memcached(key = "limit:<n>", ttl = 60, entry = bytes_entry, cache = cache, skip(cache, size))]
fn bytes(cache: &Cache, n: u32, size: usize) -> Vec<u8> {
    COMPUTED.set(COMPUTED.get() + 1);
    vec![7; size]
}

fn cache(builder: Builder<Cache>, limit: u64) -> Cache {
    builder.item_limit(limit).timeout(PATIENCE).build().unwrap()
}

#[test]
fn a_server_for_large_items_gets_them() {
    let server = Memcached::start_with(&["-I", "4m"]);
    for builder in [Cache::builder().servers(server.address()), Cache::builder()] {
        let cache = cache(builder, 4 << 20);
        let before = COMPUTED.get();
        for n in [1 << 20, 3 << 20, (4 << 20) - 1_000] {
            assert_eq!(bytes(&cache, n, n as usize).len(), n as usize);
            assert_eq!(bytes(&cache, n, n as usize).len(), n as usize);
        }
        assert_eq!(COMPUTED.get() - before, 3);
        assert_eq!(bytes_entry(&cache, 9).put(&vec![0; 4 << 20]).unwrap_err().kind(), ErrorKind::TooLarge);
    }
    let client = Client::builder().servers(server.address()).item_limit(4 << 20).timeout(PATIENCE).build().unwrap();
    let large = vec![1; 2 << 20];
    assert!(client.set_many([("a", &large), ("b", &large)], MINUTE).is_empty());
    assert_eq!(client.get::<Vec<u8>>("b").unwrap(), Some(large));
}

#[test]
fn a_server_that_refuses_an_item_for_its_size_is_believed() {
    let recording = Recording::begin();
    let server = Memcached::start();
    let cache = cache(Cache::builder().servers(server.address()), 8 << 20);
    assert_eq!(bytes(&cache, 1, 10), [7; 10]);
    let connections = server.stat("total_connections");
    for round in 1..4 {
        let refreshed = with_mode(Mode::Refresh, || bytes(&cache, 1, 2 << 20));
        assert_eq!((refreshed.len(), COMPUTED.get()), (2 << 20, 1 + round));
        assert_eq!(bytes_entry(&cache, 1).get().unwrap(), None, "the older value is gone");
    }
    assert_eq!(bytes(&cache, 2, 10), [7; 10]);
    assert_eq!(server.stat("total_connections"), connections + 1, "but for the question's own");
    let spans = recording.take();
    let told = spans.iter().flat_map(|span| span.events.iter()).filter(|event| event.name.contains("does not store"));
    assert_eq!(told.count(), 1);
}

#[test]
fn the_limit_can_be_set_by_a_variable() {
    const TEST: &str = "behaviour::item_limit::the_limit_can_be_set_by_a_variable";
    if role().is_none() {
        let server = Memcached::start_with(&["-I", "4m"]);
        let mut child = again(TEST, "child");
        output(child.env("MEMCACHED_SERVERS", server.address()).env("MEMCACHED_ITEM_LIMIT", "4MiB"));
        assert!(server.stored("limit:1").is_some());
        return;
    }
    let cache = Cache::from_env().unwrap();
    bytes(&cache, 1, 3 << 20);
    for wrong in [0, 1_023, (1 << 30) + 1] {
        assert!(Cache::builder().item_limit(wrong).build().is_err(), "{wrong}");
    }
}
