//! A cluster whose servers a configuration endpoint names, as Amazon
//! ElastiCache has it.

use std::collections::BTreeSet;
use std::time::Duration;

use memocached::{Cache, Client, ErrorKind, memcached, updates};

use crate::support::asking::MINUTE;
use crate::support::certificates::{Authority, Until};
use crate::support::configuration::{ConfigurationEndpoint, listed};
use crate::support::folder::Folder;
use crate::support::memcached::{Memcached, until};
use crate::support::tap::Tap;

fn client(endpoint: &ConfigurationEndpoint) -> Client {
    Client::builder().discovery(endpoint.address(), Duration::from_millis(10)).build().unwrap()
}

/// Exactly these servers.
fn are_known(client: &Client, ports: &[u16]) -> bool {
    let known: BTreeSet<String> = client.nodes().into_iter().map(|node| node.name).collect();
    known == ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
}

fn wait_until_known(client: &Client, ports: &[u16]) {
    until("these servers to be known", || are_known(client, ports).then_some(()));
}

#[test]
fn the_servers_of_a_cluster_are_discovered() {
    let servers = [Memcached::start(), Memcached::start()];
    let both = [servers[0].port, servers[1].port];
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("1", &both));
    let client = client(&endpoint);
    wait_until_known(&client, &both);
    let keys: Vec<String> = (0..60).map(|i| format!("key:{i}")).collect();
    assert!(client.set_many(keys.iter().map(|key| (key, "1")), MINUTE).is_empty());
    let plain = Client::builder().servers(format!("127.0.0.1:{},127.0.0.1:{}", both[0], both[1])).build().unwrap();
    let found = plain.get_many::<String>(&keys);
    assert_eq!((found.values.len(), found.failed.len()), (60, 0), "keys are where a list has them");
    endpoint.hold(listed("2", &both[1..]));
    wait_until_known(&client, &both[1..]);
}

#[memcached(key = "named:<n>", ttl = 600, entry = named_entry, cache = cache, skip(cache, body))]
fn named(cache: &Cache, n: u64, body: impl FnOnce() -> u64) -> u64 {
    body()
}

#[updates(named_entry(cache, n))]
fn change(cache: &Cache, n: u64, body: impl FnOnce() -> u64) -> u64 {
    body()
}

/// The second change is made while the key is elsewhere, and ends before the first.
#[test]
fn what_was_marked_before_a_server_left_is_not_replaced_after_it_came_back() {
    let servers = [Memcached::start(), Memcached::start()];
    let [stays, leaves] = [servers[0].port, servers[1].port];
    for is_asked_meanwhile in [false, true] {
        let endpoint = ConfigurationEndpoint::start();
        endpoint.hold(listed("1", &[stays, leaves]));
        let cache = Cache::builder().discovery(endpoint.address(), Duration::from_millis(10)).build().unwrap();
        let client = Client::of(&cache);
        wait_until_known(&client, &[stays, leaves]);
        let numbers = || (0..).filter(|n| named_entry(&cache, *n).put(&0).is_ok());
        let mut moved = numbers().filter(|n| servers[1].stored(&format!("named:{n}")).is_some());
        let [n, other] = [(); 2].map(|()| moved.next().unwrap());
        change(&cache, n, || {
            endpoint.hold(listed("2", &[stays]));
            wait_until_known(&client, &[stays]);
            std::thread::scope(|scope| scope.spawn(|| change(&cache, n, || 2)).join().unwrap());
            endpoint.hold(listed("3", &[stays, leaves]));
            wait_until_known(&client, &[stays, leaves]);
            if is_asked_meanwhile {
                named(&cache, other, || 0);
            }
            1
        });
        assert_eq!(named(&cache, n, || 2), 2, "{is_asked_meanwhile}");
    }
}

#[test]
fn an_endpoint_is_no_server() {
    let endpoint = ConfigurationEndpoint::start();
    let client = client(&endpoint);
    assert_eq!(client.nodes().len(), 0);
    let error = client.get::<String>("key").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect);
    assert!(error.to_string().contains(&endpoint.address()), "{error}");
    assert!(client.get_many::<String>(["a", "b"]).failed.len() == 2);
    endpoint.hold("");
    endpoint.wait_until_heard(1);
    assert_eq!(endpoint.commands(), [""; 0]);
    let server = Memcached::start();
    endpoint.hold(listed("1", &[server.port]));
    wait_until_known(&client, &[server.port]);
    client.set("key", "value", MINUTE).unwrap();
    assert!(server.stored("key").is_some());
}

#[test]
fn the_first_version_may_be_0() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("0", &[1]));
    wait_until_known(&client(&endpoint), &[1]);
}

#[test]
fn a_list_that_changed_under_its_version_is_believed() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("2", &[1]));
    let client = client(&endpoint);
    wait_until_known(&client, &[1]);
    endpoint.hold(listed("2", &[1, 2]));
    wait_until_known(&client, &[1, 2]);
}

#[test]
fn an_endpoint_that_counts_from_the_start_again_is_believed() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("12", &[1]));
    let client = client(&endpoint);
    wait_until_known(&client, &[1]);
    endpoint.hold(listed("1", &[2]));
    wait_until_known(&client, &[2]);
    endpoint.hold(listed("2", &[3]));
    wait_until_known(&client, &[3]);
}

#[test]
fn of_endpoints_that_differ_the_newest_is_believed() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("4", &[4]));
    let client = client(&endpoint);
    wait_until_known(&client, &[4]);
    endpoint.alternate([listed("3", &[3]), listed("4", &[4])]);
    for times in 1..20 {
        endpoint.wait_until_heard(times);
        assert!(are_known(&client, &[4]), "{:?}", client.nodes());
    }
}

#[test]
fn what_is_no_list_changes_no_servers() {
    let endpoint = ConfigurationEndpoint::start();
    endpoint.hold(listed("2", &[1]));
    let client = client(&endpoint);
    wait_until_known(&client, &[1]);
    for list in [listed("three", &[2]), listed("3", &[2]).replace('|', "/"), "3\n\n".into(), String::new()] {
        endpoint.hold(&list);
        endpoint.wait_until_heard(2);
        assert!(are_known(&client, &[1]), "{list:?}: {:?}", client.nodes());
    }
    endpoint.hold(listed("3", &[2]));
    wait_until_known(&client, &[2]);
}

#[test]
fn servers_that_an_endpoint_names_through_tls_hear_nothing_in_the_clear() {
    let (authority, folder) = (Authority::new(), Folder::new());
    let certified = authority.certify(&["localhost", "127.0.0.1"], Until::Later);
    let files = format!("ssl_chain_cert={},ssl_key={}", certified.certificate, certified.key);
    let users = folder.write("users", "joe:c0rrect\n");
    let server = Memcached::on("127.0.0.1", &["-Z", "-o", &files, "-Y", &users]);
    let tap = Tap::before(server.port);
    let endpoint = ConfigurationEndpoint::behind(Some(&certified));
    endpoint.hold(listed("1", &[tap.port]));
    let client = Client::builder()
        .discovery(format!("tls://127.0.0.1:{}", endpoint.port), Duration::from_millis(10))
        .tls_ca(authority.file())
        .credentials("joe", "c0rrect")
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    wait_until_known(&client, &[tap.port]);
    let stored = client.set("key", "value", MINUTE);
    let sent = tap.sent();
    let password = b"c0rrect".as_slice();
    assert!(!sent.windows(password.len()).any(|bytes| bytes == password), "the password is sent in the clear");
    stored.unwrap();
    assert_eq!(client.get::<String>("key").unwrap().as_deref(), Some("value"));
}
