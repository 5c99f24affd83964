//! What cannot be done is an error of the right kind, and costs neither the
//! connection nor any data.

use std::time::Duration;

use memocached::{Client, Error, ErrorKind, Failures, Protocol, memcached};

use crate::support::client::{AnyClient, MINUTE, Setup, names, only};
use crate::support::memcached::Memcached;

/// Runs a text with a client of each kind that has one connection, which must
/// be its only one in the end; `k` is 7 before and after.
fn on_one_connection(servers: &[Memcached], text: impl Fn(&AnyClient)) {
    for protocol in [Protocol::Auto, Protocol::Ascii] {
        for client in (Setup { protocol, ..Setup::on(servers) }).both() {
            println!("with {client:?}");
            client.set("k", &7, MINUTE).unwrap();
            // The question itself comes by a connection of its own.
            let opened = |server: &Memcached| server.stat("total_connections");
            let before: Vec<_> = servers.iter().map(|server| opened(server) + 1).collect();
            text(&client);
            assert_eq!(client.get::<u64>("k").unwrap(), Some(7));
            assert_eq!(servers.iter().map(opened).collect::<Vec<_>>(), before, "connections");
        }
    }
    for client in Setup::embedded().both() {
        client.set("k", &7, MINUTE).unwrap();
        text(&client);
        assert_eq!(client.get::<u64>("k").unwrap(), Some(7));
    }
}

/// Asks for a key in every way there is.
fn errors_of_all_verbs(client: &AnyClient, key: &str) -> Vec<Error> {
    let list = names(&[key]);
    let only = |failed: Failures| {
        assert_eq!(failed.len(), 1);
        let (name, error) = failed.into_iter().next().expect("a key that failed");
        assert_eq!(name, key);
        error
    };
    vec![
        client.get::<String>(key).unwrap_err(),
        client.gets::<String>(key).unwrap_err(),
        client.gat::<String>(key, MINUTE).unwrap_err(),
        client.gats::<String>(key, MINUTE).unwrap_err(),
        client.get_as::<u64, _>(key, memocached::codec::Text).unwrap_err(),
        client.set(key, "v", MINUTE).unwrap_err(),
        client.set_as(key, memocached::codec::Text, &1, MINUTE).unwrap_err(),
        client.add(key, "v", MINUTE).unwrap_err(),
        client.replace(key, "v", MINUTE).unwrap_err(),
        client.append(key, "v").unwrap_err(),
        client.prepend(key, "v").unwrap_err(),
        client.cas(key, "v", 1, MINUTE).unwrap_err(),
        client.delete(key).unwrap_err(),
        client.incr(key, 1).unwrap_err(),
        client.decr(key, 1).unwrap_err(),
        client.touch(key, MINUTE).unwrap_err(),
        only(client.get_many::<String>(&list).failed),
        only(client.gets_many::<String>(&list).failed),
        only(client.set_many(vec![(key.to_owned(), 1)], MINUTE)),
        only(client.delete_many(&list)),
    ]
}

#[test]
fn a_key_that_is_none_is_refused_by_every_verb() {
    let long = "x".repeat(251);
    let keys = ["", "a b", "k\r\nflush_all", "k noreply\r\nflush_all\r\n", "k\0", "k\u{7f}", "schlüssel", "\t", &long];
    let servers = [Memcached::start()];
    on_one_connection(&servers, |client| {
        for key in keys {
            for error in errors_of_all_verbs(client, key) {
                assert_eq!(error.kind(), ErrorKind::Key, "{key:?}");
                assert!(error.to_string().contains("key") && !error.to_string().contains("flush"), "{error}");
            }
        }
        client.set(&long[1..], "longest", MINUTE).unwrap();
        assert_eq!(client.get::<String>(&long[1..]).unwrap().as_deref(), Some("longest"));
    });
    assert_eq!(servers[0].stat("cmd_flush"), 0);
}

#[test]
fn a_namespace_counts_towards_the_length_of_a_key() {
    let servers = [Memcached::start()];
    for client in (Setup { namespace: "ns", ..Setup::on(&servers) }).both() {
        client.set(&"x".repeat(247), "v", MINUTE).unwrap();
        assert_eq!(client.set(&"x".repeat(248), "v", MINUTE).unwrap_err().kind(), ErrorKind::Key);
        assert!(servers[0].stored(&format!("ns:{}", "x".repeat(247))).is_some());
    }
}

#[test]
fn bad_keys_among_good_ones_are_named_and_the_rest_is_done() {
    on_one_connection(&[Memcached::start()], |client| {
        let failed = |failed: Failures| {
            assert!(failed.iter().all(|(_, error)| error.kind() == ErrorKind::Key));
            failed.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        let keys = names(&["a", "a b", "b", "", "c"]);
        assert_eq!(failed(client.set_many(keys.iter().map(|key| (key.clone(), 1)).collect(), MINUTE)), ["a b", ""]);
        let many = client.get_many::<u64>(&keys);
        assert_eq!((many.values.len(), failed(many.failed)), (3, names(&["a b", ""])));
        assert_eq!(failed(client.delete_many(&keys)), ["a b", ""]);
        assert_eq!(client.get_many::<u64>(&names(&["a", "b", "c"])).values.len(), 0);
    });
}

#[test]
fn what_is_too_large_for_any_server_is_not_sent_and_leaves_the_old_value() {
    let large = vec![7_u8; 1 << 20];
    on_one_connection(&[Memcached::start()], |client| {
        assert_eq!(client.set("k", &large, MINUTE).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(client.replace("k", &large, MINUTE).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(client.append("k", &large).unwrap_err().kind(), ErrorKind::TooLarge);
        let error = client.add("other", &large, MINUTE).unwrap_err();
        assert!(error.to_string().contains("1048581 bytes") && error.to_string().contains("1048064"), "{error}");
        let items = vec![("k".to_owned(), large.clone()), ("small".to_owned(), vec![1])];
        let failed = client.set_many(items, MINUTE);
        assert_eq!((failed.len(), failed.get("k").unwrap().kind()), (1, ErrorKind::TooLarge));
        assert_eq!(client.get::<Vec<u8>>("small").unwrap(), Some(vec![1]));
    });
}

#[test]
fn what_is_too_large_for_this_server_costs_no_connection() {
    let servers = [Memcached::start_with(&["-I", "512k"])];
    let large = vec![b'x'; 600_000];
    for protocol in [Protocol::Meta, Protocol::Ascii] {
        for client in (Setup { protocol, ..Setup::on(&servers) }).both() {
            client.set("k", "v", MINUTE).unwrap();
            let before = servers[0].stat("total_connections") + 1;
            for _ in 0..5 {
                let error = client.set("large", &large, MINUTE).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::TooLarge);
                assert!(error.to_string().contains(&servers[0].address()), "{error}");
            }
            let items = [("a", &large[..9]), ("large", &large), ("b", &large[..9])];
            let items = items.map(|(key, value)| (key.to_owned(), value.to_vec()));
            let failed = client.set_many(items.to_vec(), MINUTE);
            assert_eq!((failed.len(), failed.get("large").unwrap().kind()), (1, ErrorKind::TooLarge));
            assert_eq!(client.get_many::<Vec<u8>>(&names(&["a", "large", "b", "k"])).values.len(), 3);
            assert_eq!(servers[0].stat("total_connections"), before);
        }
    }
}

#[test]
fn what_is_no_number_cannot_be_counted() {
    on_one_connection(&[Memcached::start()], |client| {
        for value in ["seven", "-1", "1.5", "18446744073709551616", "x1"] {
            client.set("text", value, MINUTE).unwrap();
            assert_eq!(client.incr("text", 1).unwrap_err().kind(), ErrorKind::NotANumber, "{value}");
            let error = client.decr("text", 1).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotANumber, "{value}");
            assert!(!error.to_string().contains(value), "{error}");
            assert_eq!(client.get::<String>("text").unwrap().as_deref(), Some(value));
        }
    });
}

#[test]
fn a_memory_limit_that_cannot_be_is_refused() {
    on_one_connection(&[Memcached::start()], |client| {
        for mebibytes in [0, 1, 2_000_000_000, u64::MAX] {
            assert_eq!(only(client.cache_memlimit(mebibytes)).unwrap_err().kind(), ErrorKind::Rejected);
        }
    });
}

#[test]
fn a_group_of_counters_that_is_none_is_refused() {
    let servers = [Memcached::start()];
    for client in Setup::on(&servers).both() {
        client.set("k", &7, MINUTE).unwrap();
        for group in ["nothing", "items\r\nflush_all", "detail on", "detail"] {
            for _ in 0..4 {
                assert_eq!(only(client.stats_of(group)).unwrap_err().kind(), ErrorKind::Rejected, "{group}");
            }
        }
        assert_eq!(client.get::<u64>("k").unwrap(), Some(7));
    }
    assert_eq!(servers[0].stat("cmd_flush"), 0);
}

#[test]
fn a_computation_under_way_is_no_value() {
    #[memcached(key = "lease:<n>", ttl = 60, cache = cache, skip(cache, during))]
    fn square(cache: &memocached::Cache, n: u64, during: impl FnOnce()) -> u64 {
        during();
        n * n
    }
    let server = [Memcached::start()];
    let caches = [server[0].cache(), memocached::Cache::embedded()];
    for cache in caches {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clients =
            [AnyClient::Blocking(Client::of(&cache)), AnyClient::Async(memocached::AsyncClient::of(&cache), runtime)];
        for (n, client) in (1..).zip(clients) {
            let key = format!("lease:{n}");
            let look = || {
                assert_eq!(client.get::<Vec<u8>>(&key).unwrap(), None);
                assert_eq!(client.gets::<Vec<u8>>(&key).unwrap(), None);
                assert_eq!(client.gat::<Vec<u8>>(&key, memocached::Ttl::For(Duration::from_secs(9))).unwrap(), None);
                let many = client.get_many::<Vec<u8>>(&[key.clone(), "nothing".to_owned()]);
                assert!(many.values.is_empty() && many.failed.is_empty());
                assert!(client.gets_many::<Vec<u8>>(std::slice::from_ref(&key)).values.is_empty());
            };
            assert_eq!(square(&cache, n, look), n * n);
            assert!(client.get::<Vec<u8>>(&key).unwrap().is_some(), "stored in spite of the looks");
        }
    }
}
