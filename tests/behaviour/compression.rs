//! Values that are stored compressed.

use std::time::Duration;

use memocached::{Cache, Client, memcached};

use crate::support::memcached::Memcached;

const MINUTE: Duration = Duration::from_secs(60);

#[memcached(key = "compression:text:<n>", cache = cache, skip(cache))]
fn text(cache: &Cache, n: usize) -> String {
    "x".repeat(n)
}

#[memcached(key = "compression:bare:<n>", cache = cache, skip(cache), codec = text)]
fn bare(cache: &Cache, n: usize) -> String {
    "y".repeat(n)
}

#[test]
fn long_values_are_stored_compressed_and_come_back() {
    let server = Memcached::start();
    let cache = Cache::builder().servers(server.address()).compress(1_000).timeout(MINUTE).build().unwrap();
    for _ in 0..2 {
        assert_eq!(
            (text(&cache, 10_000).len(), bare(&cache, 10_000).len(), text(&cache, 100).len()),
            (10_000, 10_000, 100)
        );
    }
    assert_eq!(server.stat("cmd_set"), 3, "the second time, all were hits");
    for key in ["compression:text:10000", "compression:bare:10000"] {
        assert!(server.stored(key).unwrap().len() < 200, "{key}");
    }
    assert!(server.stored("compression:text:100").unwrap().len() > 100);
    let plain = Cache::builder().servers(server.address()).timeout(MINUTE).build().unwrap();
    assert_eq!(text(&plain, 10_000).len(), 10_000, "also for a cache that compresses nothing");
    assert_eq!(server.stat("cmd_set"), 3);
}

#[test]
fn what_is_appended_to_a_compressed_value_is_an_error_and_not_lost_in_silence() {
    let server = Memcached::start();
    let client = Client::builder().servers(server.address()).compress(100).timeout(MINUTE).build().unwrap();
    client.set("a", &"x".repeat(1_000), MINUTE).unwrap();
    assert!(server.stored("a").unwrap().len() < 100);
    assert_eq!(client.get::<String>("a").unwrap().unwrap().len(), 1_000);
    assert!(client.append("a", "more").unwrap());
    assert!(client.get::<String>("a").is_err());
    client.set("b", "short", MINUTE).unwrap();
    assert!(client.append("b", &"y".repeat(1_000)).unwrap());
    assert_eq!(client.get::<String>("b").unwrap().unwrap().len(), 1_005, "a part is never compressed");
    assert!(client.set_many([("c", "z".repeat(1_000))], MINUTE).is_empty());
    assert_eq!(client.get_many::<String>(["c"]).values["c"].len(), 1_000);
}
