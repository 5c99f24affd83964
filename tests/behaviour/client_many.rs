//! Many keys at once: to each server of its own, and what a lost server takes
//! along.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use memocached::{Error, ErrorKind, Failures};

use crate::support::client::{AnyClient, MINUTE, Setup};
use crate::support::folder::Folder;
use crate::support::memcached::Memcached;
use crate::support::tap::Tap;

const KEYS: usize = 3_000;

/// Generous to a busy machine, and far below what waiting without a limit would
/// take.
const LIMIT: Duration = Duration::from_secs(1);
const BOUND: Duration = Duration::from_secs(4);

fn keys() -> Vec<String> {
    (0..KEYS).map(|n| format!("key:{n}")).collect()
}

fn items(size: usize) -> Vec<(String, String)> {
    keys().into_iter().map(|key| (key.clone(), key + &"x".repeat(size))).collect()
}

fn cluster() -> [Memcached; 3] {
    [(); 3].map(|()| Memcached::start())
}

/// The keys that are on a server.
fn held(server: &Memcached) -> HashSet<String> {
    keys().into_iter().filter(|key| server.stored(key).is_some()).collect()
}

fn within_bound<T>(what: &str, call: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = call();
    assert!(start.elapsed() < BOUND, "{what} took {:?}", start.elapsed());
    result
}

/// Asserts that just these keys failed, in one of these ways.
fn assert_failed(failed: Failures, expected: &HashSet<String>, kinds: &[ErrorKind]) {
    let wrong: Vec<(&str, &Error)> = failed.iter().filter(|(_, error)| !kinds.contains(&error.kind())).collect();
    assert!(wrong.is_empty(), "{:?}", wrong[0]);
    let failed: HashSet<_> = failed.into_iter().map(|(key, _)| key).collect();
    assert_eq!(failed.symmetric_difference(expected).count(), 0, "{} of {}", failed.len(), expected.len());
}

/// Asserts that a client reads, writes and deletes everything but the keys of one
/// server, which cannot be had.
fn assert_only_these_fail(client: &AnyClient, lost: &HashSet<String>, kinds: &[ErrorKind]) {
    let many = within_bound("reading", || client.get_many::<String>(&keys()));
    assert_failed(many.failed, lost, kinds);
    assert_eq!(many.values.len(), KEYS - lost.len());
    assert!(many.values.iter().all(|(key, value)| value.starts_with(key.as_str()) && !lost.contains(key)));
    assert_failed(within_bound("writing", || client.set_many(items(500), MINUTE)), lost, kinds);
    let many = within_bound("reading numbers", || client.gets_many::<String>(&keys()));
    assert_failed(many.failed, lost, kinds);
    assert_eq!(many.values.len(), KEYS - lost.len());
    let missing: Vec<_> = keys().into_iter().map(|key| key + "?").collect();
    let failed = within_bound("deleting", || client.delete_many(&missing));
    assert!(failed.iter().all(|(_, error)| kinds.contains(&error.kind())));
    assert!((1..KEYS).contains(&failed.len()), "{} of {KEYS}", failed.len());
}

#[test]
fn a_dead_node_takes_only_its_own_keys_along() {
    let mut servers = cluster();
    let setup = Setup::on(&servers);
    let [blocking, on_tokio] = setup.both();
    assert!(blocking.set_many(items(10), MINUTE).is_empty());
    assert_eq!(blocking.get_many::<String>(&keys()).values.len(), KEYS);
    assert_eq!(on_tokio.get_many::<String>(&keys()).values.len(), KEYS);
    let lost = held(&servers[1]);
    servers[1].kill();
    let kinds = [ErrorKind::Io, ErrorKind::Connect, ErrorKind::CircuitOpen];
    // Those that had connections, and those that have never had any.
    let [first, second] = setup.both();
    for client in [blocking, on_tokio, first, second] {
        println!("with {client:?}");
        assert_only_these_fail(&client, &lost, &kinds);
        let outcomes: Vec<_> = client.version().into_iter().map(|(_, version)| version.is_ok()).collect();
        assert_eq!(outcomes, [true, false, true]);
    }
}

#[test]
fn a_frozen_node_takes_only_its_own_keys_along() {
    let servers = cluster();
    let setup = Setup { timeout: LIMIT, ..Setup::on(&servers) };
    let warm = setup.both();
    assert!(warm[0].set_many(items(10), MINUTE).is_empty());
    for client in &warm {
        assert_eq!(client.get_many::<String>(&keys()).values.len(), KEYS);
    }
    // The one that is asked first.
    let frozen = servers.iter().find(|server| server.stored(&keys()[0]).is_some()).unwrap();
    let lost = held(frozen);
    frozen.freeze();
    std::thread::scope(|scope| {
        for client in warm.into_iter().chain(setup.both()) {
            let lost = &lost;
            scope.spawn(move || {
                println!("with {client:?}");
                assert_only_these_fail(&client, lost, &[ErrorKind::Timeout, ErrorKind::CircuitOpen]);
            });
        }
    });
}

#[test]
fn callers_with_one_connection_to_each_server_do_not_wait_for_each_other_in_a_circle() {
    let servers = cluster();
    let client = Setup { pool_size: 1, ..Setup::on(&servers) }.blocking();
    assert!(client.set_many(items(10), MINUTE).is_empty());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (client, mut keys) = (&client, keys());
            keys.rotate_left(thread * 37);
            scope.spawn(move || {
                for keys in keys.chunks(30) {
                    let many = client.get_many::<String>(keys);
                    assert!(many.failed.is_empty(), "{:?}", many.failed.first());
                    assert_eq!(many.values.len(), keys.len());
                    assert!(client.set_many(many.values, MINUTE).is_empty());
                }
            });
        }
    });
}

#[test]
fn a_list_may_be_longer_than_what_a_socket_holds_of_its_replies() {
    let servers = [Memcached::start()];
    let keys: Vec<_> = (0..100_000).map(|n| format!("{n}")).collect();
    for client in Setup::on(&servers).both() {
        let failed = client.delete_many(&keys);
        assert!(failed.is_empty(), "{} keys: {:?}", failed.len(), failed.first());
    }
}

/// A server reads no further where its replies are not read.
#[test]
#[cfg(unix)]
fn a_list_may_be_longer_than_what_sockets_hold_of_its_requests_and_replies() {
    let folder = Folder::new();
    let path = folder.path("memcached.sock");
    let _server = Memcached::behind(&path, &["-m", "256"]);
    let setup = Setup { servers: path, timeout: Duration::from_secs(20), ..Setup::embedded() };
    let keys: Vec<_> = (0..10_000).map(|n| format!("{n:0>230}")).collect();
    for client in setup.both() {
        println!("with {client:?}");
        let failed = client.set_many(keys.iter().map(|key| (key.clone(), "x".repeat(1_000))).collect(), MINUTE);
        assert!(failed.is_empty(), "{} keys: {:?}", failed.len(), failed.first());
        let many = client.get_many::<String>(&keys);
        assert!(many.failed.is_empty(), "{} keys: {:?}", many.failed.len(), many.failed.first());
        assert_eq!(many.values.len(), keys.len());
        let many = client.gets_many::<String>(&keys);
        assert!(many.failed.is_empty(), "{} keys: {:?}", many.failed.len(), many.failed.first());
        assert_eq!(many.values.len(), keys.len());
    }
}

#[test]
fn values_come_in_the_order_of_the_keys() {
    let servers = cluster();
    for setup in [Setup::on(&servers), Setup::embedded()] {
        for client in setup.both() {
            assert!(client.set_many(vec![("a".to_owned(), 1), ("b".to_owned(), 2)], MINUTE).is_empty());
            let keys = ["b", "none", "a", "b"].map(str::to_owned);
            assert_eq!(client.get_all::<u64>(&keys).unwrap(), [Some(2), None, Some(1), Some(2)]);
            assert_eq!(client.get_all::<u64>(&[]).unwrap(), []);
            let unusable = client.get_all::<u64>(&["a".to_owned(), "a key".to_owned()]);
            assert_eq!(unusable.unwrap_err().kind(), ErrorKind::Key);
        }
    }
    let mut servers = cluster();
    let [blocking, on_tokio] = Setup::on(&servers).both();
    assert!(blocking.set_many(items(10), MINUTE).is_empty());
    let values = |client: &AnyClient| client.get_all::<String>(&keys());
    let expected: Vec<_> = items(10).into_iter().map(|(_, value)| Some(value)).collect();
    assert_eq!(values(&blocking).unwrap(), expected);
    assert_eq!(values(&on_tokio).unwrap(), expected);
    servers[1].kill();
    assert!(values(&blocking).is_err() && values(&on_tokio).is_err());
}

/// Some managed services refuse commands over 16 KB.
#[test]
fn a_line_for_many_keys_is_no_longer_than_eight_kilobytes() {
    let server = Memcached::start();
    let tap = Tap::before(server.port);
    for client in (Setup { servers: format!("127.0.0.1:{}", tap.port), ..Setup::embedded() }).both() {
        assert!(client.set_many(items(10), MINUTE).is_empty());
        assert_eq!(client.get_many::<String>(&keys()).values.len(), KEYS);
        let expected: Vec<_> = items(10).into_iter().map(|(_, value)| Some(value)).collect();
        assert_eq!(client.get_all::<String>(&keys()).unwrap(), expected);
    }
    let sent = tap.sent();
    let lines: Vec<_> = sent.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"get")).collect();
    assert!(lines.iter().all(|line| line.len() <= 8 * 1024 + 16), "{:?}", lines.iter().map(|line| line.len()).max());
    assert!(lines.len() >= 4 * 3, "{} lines", lines.len());
}
