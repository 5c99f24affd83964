//! What each verb of the client does: blocking and async, on memcached in both
//! of its protocols, and on the embedded store.

use std::time::Duration;

use memocached::codec::{Bincode, Json, Text};
use memocached::{CasOutcome, ErrorKind, PerNode, Protocol, RawItem, Ttl, Versioned};

use crate::support::client::{AnyClient, MINUTE, Setup, names, only};
use crate::support::memcached::Memcached;

/// Runs a text with a client of each kind, each with keys of its own.
fn everywhere(text: impl Fn(&AnyClient)) {
    let server = [Memcached::start()];
    let on = |protocol, namespace| Setup { protocol, namespace, ..Setup::on(&server) };
    let setups = [on(Protocol::Auto, ""), on(Protocol::Ascii, "ascii"), Setup::embedded()];
    for setup in &setups {
        for client in setup.both() {
            println!("with {client:?}");
            text(&client);
            let _ = client.flush_all(Duration::ZERO);
        }
    }
}

#[test]
fn a_value_comes_back_as_what_it_was() {
    everywhere(|client| {
        client.set("text", "häßlich", MINUTE).unwrap();
        assert_eq!(client.get::<String>("text").unwrap().as_deref(), Some("häßlich"));
        client.set("bytes", &[0, 255, 13, 10][..], MINUTE).unwrap();
        assert_eq!(client.get::<Vec<u8>>("bytes").unwrap(), Some(vec![0, 255, 13, 10]));
        client.set("empty", b"", MINUTE).unwrap();
        assert_eq!(client.get::<Vec<u8>>("empty").unwrap().as_deref(), Some(&b""[..]));
        assert_eq!(client.get_all::<Vec<u8>>(&["empty".to_owned()]).unwrap(), [Some(Vec::new())]);
        client.set("number", &-42_i64, MINUTE).unwrap();
        assert_eq!(client.get::<i64>("number").unwrap(), Some(-42));
        let raw = RawItem { bytes: b"END\r\nVA 0\r\n".to_vec(), flags: u32::MAX };
        client.set("raw", &raw, MINUTE).unwrap();
        assert_eq!(client.get::<RawItem>("raw").unwrap(), Some(raw));
        client.set("text", "other", Ttl::Forever).unwrap();
        assert_eq!(client.get::<String>("text").unwrap().as_deref(), Some("other"));
        assert_eq!(client.get::<u8>("number").unwrap_err().kind(), ErrorKind::Decode);
        assert_eq!(client.get::<i64>("number").unwrap(), Some(-42), "after an error of its reader");
    });
}

#[test]
fn a_value_comes_back_through_its_codec() {
    everywhere(|client| {
        let value = (7_u32, "seven".to_owned(), vec![Some(0.5), None]);
        client.set_as("bincode", Bincode, &value, MINUTE).unwrap();
        assert_eq!(client.get_as("bincode", Bincode).unwrap().as_ref(), Some(&value));
        client.set_as("json", Json, &value, MINUTE).unwrap();
        assert_eq!(client.get_as("json", Json).unwrap().as_ref(), Some(&value));
        assert_eq!(client.get::<String>("json").unwrap().as_deref(), Some(r#"[7,"seven",[0.5,null]]"#));
        client.set_as("text", Text, &0.1_f64, MINUTE).unwrap();
        assert_eq!(client.get_as::<f64, _>("text", Text).unwrap(), Some(0.1));
        assert_eq!(client.get::<String>("text").unwrap().as_deref(), Some("0.1"));
        assert_eq!(client.get_as::<u64, _>("json", Json).unwrap_err().kind(), ErrorKind::Decode);
        assert_eq!(client.get_as::<u64, _>("nothing", Json).unwrap(), None);
        assert_eq!(client.set_as("json", Json, &f64::NAN, MINUTE).unwrap_err().kind(), ErrorKind::Encode);
        assert_eq!(client.get_as("json", Json).unwrap(), Some(value), "after a value that has no form");
    });
}

#[test]
fn a_miss_is_no_error() {
    everywhere(|client| {
        assert_eq!(client.get::<String>("k").unwrap(), None);
        assert_eq!(client.gets::<String>("k").unwrap(), None);
        assert_eq!(client.gat::<String>("k", MINUTE).unwrap(), None);
        assert_eq!(client.gats::<String>("k", MINUTE).unwrap(), None);
        assert_eq!((client.incr("k", 1).unwrap(), client.decr("k", 1).unwrap()), (None, None));
        assert_eq!((client.touch("k", MINUTE).unwrap(), client.delete("k").unwrap()), (false, false));
        let many = client.get_many::<String>(&names(&["k", "l"]));
        assert!(many.values.is_empty() && many.failed.is_empty());
        assert!(client.delete_many(&names(&["k", "l"])).is_empty());
        assert_eq!(client.get::<String>("k").unwrap(), None, "after all of them");
    });
}

#[test]
fn conditional_writes_tell_whether_they_stored() {
    everywhere(|client| {
        assert!(!client.replace("k", "x", MINUTE).unwrap());
        assert!(!client.append("k", "x").unwrap());
        assert!(!client.prepend("k", "x").unwrap());
        assert!(client.add("k", "b", MINUTE).unwrap());
        assert!(!client.add("k", "x", MINUTE).unwrap());
        assert!(client.append("k", "c").unwrap());
        assert!(client.prepend("k", "a").unwrap());
        assert_eq!(client.get::<String>("k").unwrap().as_deref(), Some("abc"));
        assert!(client.replace("k", "d", MINUTE).unwrap());
        assert_eq!(client.get::<String>("k").unwrap().as_deref(), Some("d"));
        assert!(client.delete("k").unwrap());
        assert!(client.add("k", "e", MINUTE).unwrap());
    });
}

#[test]
fn cas_tells_stored_changed_and_missing_apart() {
    everywhere(|client| {
        client.set("k", "a", MINUTE).unwrap();
        let Versioned { value, cas, .. } = client.gets::<String>("k").unwrap().unwrap();
        assert_eq!(value, "a");
        assert_eq!(client.cas("k", "b", cas, MINUTE).unwrap(), CasOutcome::Stored);
        assert_eq!(client.cas("k", "c", cas, MINUTE).unwrap(), CasOutcome::Changed);
        assert_eq!(client.cas("k", "c", 0, MINUTE).unwrap(), CasOutcome::Changed, "no number at all");
        let Versioned { value, cas, .. } = client.gats::<String>("k", MINUTE).unwrap().unwrap();
        assert_eq!(value, "b");
        assert_eq!(client.gets_many::<String>(&names(&["k"])).values["k"].cas, cas, "the same number from a list");
        assert_eq!(client.cas("k", "c", cas, MINUTE).unwrap(), CasOutcome::Stored);
        client.delete("k").unwrap();
        assert_eq!(client.cas("k", "d", cas, MINUTE).unwrap(), CasOutcome::Missing);
        assert_eq!(client.get::<String>("k").unwrap(), None);
    });
}

#[test]
fn counting_up_wraps_around_and_counting_down_stops_at_zero() {
    everywhere(|client| {
        client.set("k", &99_u64, MINUTE).unwrap();
        assert_eq!(client.incr("k", 1).unwrap(), Some(100));
        assert_eq!(client.decr("k", 1).unwrap(), Some(99));
        assert_eq!(client.get::<u64>("k").unwrap(), Some(99), "in the place of a longer one");
        assert_eq!(client.decr("k", 1_000).unwrap(), Some(0));
        assert_eq!(client.incr("k", u64::MAX).unwrap(), Some(u64::MAX));
        assert_eq!(client.incr("k", 2).unwrap(), Some(1));
        assert_eq!(client.get::<u64>("k").unwrap(), Some(1));
        assert_eq!(client.incr("k", 0).unwrap(), Some(1));
        client.set("k", &format!("1{}", " ".repeat(70_000)), MINUTE).unwrap();
        assert_eq!(client.incr("k", 1).unwrap(), Some(2));
    });
}

#[test]
fn several_keys_are_set_read_and_deleted_at_once() {
    everywhere(|client| {
        let items = ["a", "b", "c"].map(|key| (key.to_owned(), format!("value of {key}")));
        assert!(client.set_many(items.to_vec(), MINUTE).is_empty());
        let many = client.get_many::<String>(&names(&["c", "nothing", "a", "a"]));
        assert!(many.failed.is_empty());
        let mut found: Vec<_> = many.values.into_iter().collect();
        found.sort();
        assert_eq!(found, [items[0].clone(), items[2].clone()]);
        assert!(client.delete_many(&names(&["a", "nothing", "b"])).is_empty());
        let many = client.gets_many::<String>(&names(&["a", "b", "c"]));
        assert_eq!(many.values.into_keys().collect::<Vec<_>>(), ["c"]);
        assert!(client.set_many(Vec::<(String, u64)>::new(), MINUTE).is_empty());
        assert!(client.get_many::<u64>(&[]).values.is_empty());
    });
}

#[test]
fn one_unreadable_value_of_several_is_named() {
    everywhere(|client| {
        client.set("number", &1, MINUTE).unwrap();
        client.set("text", "one", MINUTE).unwrap();
        let many = client.get_many::<u64>(&names(&["number", "text"]));
        assert_eq!(many.values.into_iter().collect::<Vec<_>>(), [("number".to_owned(), 1)]);
        assert_eq!(many.failed.len(), 1, "{:?}", many.failed);
        let (key, error) = many.failed.first().unwrap();
        assert_eq!((key, error.kind()), ("text", ErrorKind::Decode));
    });
}

#[test]
fn an_empty_value_is_a_value() {
    everywhere(|client| {
        // Where leases have no mark, empty bytes without flags look like one.
        client.set("text", "", MINUTE).unwrap();
        assert_eq!(client.get::<String>("text").unwrap().as_deref(), Some(""));
        assert_eq!(client.get_many::<String>(&names(&["text"])).values["text"], "");
        assert_eq!(client.incr("text", 1).unwrap_err().kind(), ErrorKind::NotANumber);
    });
    let server = [Memcached::start()];
    for setup in [Setup::on(&server), Setup::embedded()] {
        for client in setup.both() {
            client.set("bytes", &[] as &[u8], MINUTE).unwrap();
            assert_eq!(client.get::<Vec<u8>>("bytes").unwrap(), Some(vec![]));
            assert_eq!(client.gat::<Vec<u8>>("bytes", MINUTE).unwrap(), Some(vec![]));
            let many = client.get_many::<Vec<u8>>(&names(&["bytes", "nothing"]));
            assert_eq!((many.values.len(), many.values["bytes"].len(), many.failed.len()), (1, 0, 0));
        }
    }
}

#[test]
fn a_megabyte_comes_back_whole() {
    everywhere(|client| {
        let megabyte: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
        let keys: Vec<_> = ["a", "b", "c"].map(String::from).into();
        let items = keys.iter().map(|key| (key.clone(), megabyte.clone()));
        assert!(client.set_many(items.collect(), MINUTE).is_empty());
        assert!(client.get::<Vec<u8>>("a").unwrap().is_some_and(|value| value == megabyte));
        let many = client.get_many::<Vec<u8>>(&keys);
        assert!(many.failed.is_empty());
        assert!(keys.iter().all(|key| many.values[key] == megabyte));
        assert!(!client.append("a", &megabyte).unwrap(), "two megabytes are too large");
        assert_eq!(client.get::<Vec<u8>>("a").unwrap().unwrap().len(), megabyte.len());
        assert!(client.delete_many(&keys).is_empty());
    });
}

#[test]
fn a_time_to_live_is_at_least_a_second_and_may_be_longer_than_thirty_days() {
    const DAY: Duration = Duration::from_secs(86_400);
    let server = [Memcached::start()];
    let server_left = || -> i64 { server[0].command("mg k t").strip_prefix("HD t").unwrap().parse().unwrap() };
    let days = |days: u32| Ttl::For(days * DAY);
    // A server that has just started is a second behind.
    let spans = [(days(0), 0..=1), (days(30), 2_591_990..=2_592_000), (days(31), 2_678_390..=2_678_402)];
    for protocol in [Protocol::Meta, Protocol::Ascii] {
        for client in (Setup { protocol, ..Setup::on(&server) }).both() {
            for (ttl, left) in spans.clone() {
                client.set("k", "v", ttl).unwrap();
                assert!(left.contains(&server_left()), "{ttl:?} became {}", server_left());
                client.set("k", "v", Ttl::Forever).unwrap();
                assert_eq!(server_left(), -1);
                assert!(client.touch("k", ttl).unwrap());
                assert!(left.contains(&server_left()), "{ttl:?} became {}", server_left());
                client.set("k", "v", Ttl::Forever).unwrap();
                assert_eq!(client.gat::<String>("k", ttl).unwrap().as_deref(), Some("v"));
                assert!(left.contains(&server_left()), "{ttl:?} became {}", server_left());
                assert!(client.touch("k", Ttl::Forever).unwrap());
                assert_eq!(server_left(), -1);
            }
        }
    }
    for client in Setup::embedded().both() {
        client.set("k", "v", days(0)).unwrap();
        assert!(client.touch("k", days(31)).unwrap());
        assert!(client.gat::<String>("k", Ttl::For(Duration::MAX)).unwrap().is_some());
    }
}

#[test]
fn each_server_is_asked_about_itself() {
    let servers = [(); 2].map(|()| Memcached::start());
    for client in Setup::on(&servers).both() {
        let addresses = servers.each_ref().map(Memcached::address).to_vec();
        let of = |stats: Vec<(String, _)>| stats.into_iter().map(|(server, _)| server).collect::<Vec<_>>();
        assert_eq!(of(client.stats().into_iter().collect()), addresses);
        let lengths = [client.stats_of("settings").len(), client.stats_of("items").len(), client.version().len()];
        assert_eq!(lengths, [2; 3]);
        for (n, (_, counters)) in client.stats().into_iter().enumerate() {
            assert_eq!(counters.unwrap()["pid"], servers[n].stat("pid").to_string());
        }
        for (_, settings) in client.stats_of("settings") {
            assert_eq!(settings.unwrap()["item_size_max"], "1048576");
        }
        // Each has one item at most: what tells its life.
        for (_, items) in client.stats_of("items") {
            let items = items.unwrap();
            let held = items.iter().filter(|(name, _)| name.ends_with(":number")).map(|(_, number)| number.as_str());
            assert!(held.clone().all(|number| number == "1") && held.count() <= 1, "{items:?}");
        }
        for (_, version) in client.version() {
            assert!(version.unwrap().starts_with("1."));
        }
        assert!(client.set_many((0..20).map(|n| (format!("k{n}"), n)).collect(), MINUTE).is_empty());
        let both_done = |outcomes: PerNode<()>| outcomes.len() == 2 && outcomes.iter().all(|(_, done)| done.is_ok());
        assert!(both_done(client.flush_all(Duration::from_secs(60 * 86_400))));
        assert_eq!(client.get::<u64>("k1").unwrap(), Some(1), "not for two months");
        assert!(both_done(client.flush_all(Duration::ZERO)));
        assert_eq!(client.get_many::<u64>(&(0..20).map(|n| format!("k{n}")).collect::<Vec<_>>()).values.len(), 0);
        assert!(both_done(client.cache_memlimit(32)));
        assert!(servers.iter().all(|server| server.stat("limit_maxbytes") == 32 << 20));
    }
    for client in Setup::embedded().both() {
        client.set("k", "v", MINUTE).unwrap();
        let stats = client.stats();
        assert_eq!(stats.len(), 1, "one store");
        assert_eq!(stats.get("embedded").unwrap().unwrap()["curr_items"], "1");
        assert!(only(client.version()).is_ok() && only(client.flush_all(Duration::ZERO)).is_ok());
        assert_eq!(client.get::<String>("k").unwrap(), None);
        assert_eq!(only(client.cache_memlimit(64)).unwrap_err().kind(), ErrorKind::Rejected);
        assert_eq!(only(client.flush_all(Duration::from_secs(1))).unwrap_err().kind(), ErrorKind::Rejected);
    }
}
