//! Servers that leave, come back, are added and removed, and namespaces that
//! are flushed.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use memocached::{AsyncClient, Client, Error, ErrorKind, Ttl};

use crate::support::memcached::{Memcached, until};

const MINUTE: Duration = Duration::from_secs(60);

fn servers(servers: &[&Memcached]) -> String {
    servers.iter().map(|server| server.address()).collect::<Vec<_>>().join(",")
}

fn client(list: &str) -> Client {
    let builder = Client::builder().servers(list).timeout(Duration::from_millis(300));
    builder.retry_after(Duration::from_millis(200)).build().unwrap()
}

/// Some keys for each of the two servers.
fn keys(first: &Memcached, second: &Memcached) -> [Vec<String>; 2] {
    let client = client(&servers(&[first, second]));
    let names: Vec<String> = (0..60).map(|i| format!("key:{i}")).collect();
    for name in &names {
        client.set(name, "where", MINUTE).unwrap();
    }
    let (ours, theirs) = names.into_iter().partition(|name| first.stored(name).is_some());
    [ours, theirs]
}

fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> ErrorKind {
    result.expect_err("a failure").kind()
}

fn is_up(client: &Client, server: &Memcached) -> bool {
    client.nodes().iter().any(|node| node.name == server.address() && node.is_up)
}

#[test]
fn a_node_that_is_out_fails_at_once_and_comes_back_by_itself() {
    let (mut first, second) = (Memcached::start(), Memcached::start());
    let [ours, theirs] = keys(&first, &second);
    let client = client(&servers(&[&first, &second]));
    client.set(&ours[0], "before", MINUTE).unwrap();
    first.kill();
    let began = Instant::now();
    for _ in 0..100 {
        assert!(client.get::<String>(&ours[0]).is_err());
        assert_eq!(client.get::<String>(&theirs[0]).unwrap().as_deref(), Some("where"));
    }
    assert!(began.elapsed() < Duration::from_secs(1), "no call waits for a node that is out");
    assert_eq!(kind(client.get::<String>(&ours[0])), ErrorKind::CircuitOpen);
    assert!(!is_up(&client, &first));
    let first = Memcached::restart(first.port);
    until("the node to be asked again", || is_up(&client, &first).then_some(()));
    assert_eq!(client.get::<String>(&ours[0]).unwrap(), None, "restarted, and empty");
}

#[test]
fn a_node_that_is_added_takes_its_share_and_one_that_is_removed_gives_it_back() {
    let (first, second) = (Memcached::start(), Memcached::start());
    let [ours, theirs] = keys(&first, &second);
    let client = client(&first.address());
    assert!(client.add_node(&second.address()).unwrap());
    assert!(!client.add_node(&second.address()).unwrap(), "it is there already");
    let found = client.get_many::<String>(ours.iter().chain(&theirs));
    assert_eq!((found.values.len(), found.failed.len()), (60, 0), "keys are where two servers have them");
    assert!(client.remove_node(&first.address()).unwrap());
    assert!(!client.remove_node(&first.address()).unwrap(), "it is gone");
    assert_eq!(client.get::<String>(&theirs[0]).unwrap().as_deref(), Some("where"));
    assert_eq!(client.get::<String>(&ours[0]).unwrap(), None);
    assert_eq!(kind(client.remove_node(&second.address())), ErrorKind::Configuration);
    assert_eq!(kind(client.add_node("udp://x")), ErrorKind::Configuration);
    assert_eq!(kind(Client::builder().build().unwrap().add_node("x")), ErrorKind::Configuration);
}

#[test]
fn a_flushed_namespace_is_empty_for_all_of_its_clients_and_for_no_other() {
    let (first, second) = (Memcached::start(), Memcached::start());
    let build = |namespace| {
        Client::builder().servers(servers(&[&first, &second])).flushable_namespace(namespace).build().unwrap()
    };
    let (shop, same_shop, bank) = (build("shop"), build("shop"), build("bank"));
    let values: HashMap<String, u32> = (0..20).map(|i| (format!("key:{i}"), i)).collect();
    assert!(shop.set_many(&values, MINUTE).is_empty());
    assert!(bank.set_many(&values, MINUTE).is_empty());
    assert_eq!(same_shop.get_many::<u32>(values.keys()).values, values);
    let sets = first.stat("cmd_set") + second.stat("cmd_set");
    same_shop.flush_namespace().unwrap();
    assert_eq!(first.stat("cmd_set") + second.stat("cmd_set"), sets + 1, "at the cost of one write");
    assert!(same_shop.get_many::<u32>(values.keys()).values.is_empty(), "at once for the client that flushed");
    until("the other client to notice", || shop.get_many::<u32>(values.keys()).values.is_empty().then_some(()));
    assert_eq!(bank.get_many::<u32>(values.keys()).values, values);
    shop.set("key:1", &7, Ttl::Forever).unwrap();
    assert_eq!(same_shop.get::<u32>("key:1").unwrap(), Some(7));
    assert_eq!(kind(client(&first.address()).flush_namespace()), ErrorKind::Configuration);
}

#[tokio::test]
async fn an_async_client_flushes_as_well() {
    let server = Memcached::start();
    let client = AsyncClient::builder().servers(server.address()).flushable_namespace("shop").build().unwrap();
    client.set("a", "b", MINUTE).await.unwrap();
    client.flush_namespace().await.unwrap();
    assert_eq!(client.get::<String>("a").await.unwrap(), None);
}
