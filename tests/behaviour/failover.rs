//! Keys of a server that is out go to another one, and neither brings back
//! what has been overwritten or deleted elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use memocached::{AsyncClient, Build, Builder, Cache, CasOutcome, Client, Failover, memcached};

use crate::support::asking::eventually;
use crate::support::memcached::{Memcached, until};

const MINUTE: Duration = Duration::from_secs(60);

/// Two servers, and some keys of the first.
struct Pair {
    first: Memcached,
    second: Memcached,
    keys: Vec<String>,
}

impl Pair {
    fn start() -> Self {
        let (first, second) = (Memcached::start(), Memcached::start());
        let mut pair = Pair { first, second, keys: Vec::new() };
        let client: Client = pair.build(Client::builder());
        let names = (0..60).map(|i| format!("key{i}"));
        let is_first = |name: &String| {
            client.set(name, "old", MINUTE).unwrap();
            pair.first.stored(name).is_some()
        };
        pair.keys = names.filter(is_first).collect();
        pair
    }

    /// As a process of its own would have it: nothing is shared with others.
    fn build<T: Build>(&self, builder: Builder<T>) -> T {
        let servers = format!("{},{}", self.first.address(), self.second.address());
        let builder = builder.servers(&servers).failover(Failover::Next).timeout(Duration::from_millis(300));
        builder.retry_after(Duration::from_millis(200)).build().unwrap()
    }

    fn client(&self) -> Client {
        self.build(Client::builder())
    }

    /// Frozen and not killed, so that the server keeps what it has.
    fn lose_first(&self, clients: &[&Client]) {
        self.first.freeze();
        for client in clients {
            until("the server to be left alone", || {
                let _ = client.get::<String>(&self.keys[0]);
                (!self.is_up(client)).then_some(())
            });
        }
    }

    fn is_up(&self, client: &Client) -> bool {
        client.nodes().iter().any(|node| node.name == self.first.address() && node.is_up)
    }

    fn bring_first_back(&self, clients: &[&Client]) {
        self.first.thaw();
        for client in clients {
            until("the server to be asked again", || self.is_up(client).then_some(()));
        }
    }
}

fn get(client: &Client, key: &str) -> Option<String> {
    client.get(key).unwrap()
}

#[test]
fn keys_of_a_server_that_is_out_go_to_another() {
    let pair = Pair::start();
    let client = pair.client();
    pair.lose_first(&[&client]);
    let failed = client.set_many(pair.keys.iter().skip(2).map(|name| (name, "new")), MINUTE);
    assert!(failed.is_empty(), "{failed:?}");
    assert!(client.set(&pair.keys[0], "new", MINUTE).is_ok());
    assert!(!client.delete(&pair.keys[1]).unwrap());
    assert_eq!(get(&client, &pair.keys[0]).as_deref(), Some("new"));
    assert_eq!(pair.second.stored(&pair.keys[0]).as_deref(), Some(&b"new"[..]), "it has gone to the other");
    let found = client.get_many::<String>(&pair.keys);
    assert_eq!((found.values.len(), found.failed.len()), (pair.keys.len() - 1, 0));

    pair.bring_first_back(&[&client]);
    for name in &pair.keys {
        assert_eq!(get(&client, name), None, "{name} had been overwritten or deleted");
    }
}

#[test]
fn what_another_client_overwrote_while_a_server_was_out_is_not_served() {
    let pair = Pair::start();
    let (client, another) = (pair.client(), pair.client());
    client.set(&pair.keys[7], &5, MINUTE).unwrap();
    let seen = client.gets::<String>(&pair.keys[6]).unwrap().unwrap();
    pair.lose_first(&[&client, &another]);
    another.set(&pair.keys[0], "new", MINUTE).unwrap();
    another.delete(&pair.keys[1]).unwrap();
    // It will not put anything right.
    drop(another);
    pair.bring_first_back(&[&client]);
    assert_eq!(pair.first.stored(&pair.keys[0]).as_deref(), Some(&b"old"[..]), "the server has it still");

    let [name, deleted, gotten, touched, added, replaced, swapped, counted, appended, ..] = &pair.keys[..] else {
        panic!("keys of the first server")
    };
    assert_eq!(get(&client, name), None);
    let found = client.get_many::<String>(&pair.keys[..3]);
    assert_eq!((found.values.len(), found.failed.len()), (0, 0));
    assert!(client.gets::<String>(deleted).unwrap().is_none());
    assert_eq!(client.gat::<String>(gotten, MINUTE).unwrap(), None);
    assert!(!client.touch(touched, MINUTE).unwrap());
    assert!(client.add(added, "added", MINUTE).unwrap());
    assert!(!client.replace(replaced, "replaced", MINUTE).unwrap());
    assert_eq!(client.cas(swapped, "swapped", seen.cas, MINUTE).unwrap(), CasOutcome::Missing);
    assert_eq!(client.incr(counted, 1).unwrap(), None);
    assert!(!client.append(appended, "more").unwrap());

    client.set(name, "newest", MINUTE).unwrap();
    assert_eq!(get(&client, name).as_deref(), Some("newest"));
    assert_eq!(get(&client, added).as_deref(), Some("added"));
    assert_eq!(client.get_many::<String>([name, added]).values.len(), 2);
}

#[tokio::test]
async fn async_clients_are_not_served_what_a_server_kept_while_it_was_out() {
    let pair = Pair::start();
    let (client, blocking) = (pair.build(AsyncClient::builder()), pair.client());
    pair.first.freeze();
    let is_out = || client.nodes().iter().any(|node| node.name == pair.first.address() && !node.is_up);
    eventually("the server to be left alone", async || {
        let _ = client.get::<String>(&pair.keys[0]).await;
        is_out().then_some(())
    })
    .await;
    client.set(&pair.keys[0], "new", MINUTE).await.unwrap();
    assert_eq!(client.get::<String>(&pair.keys[0]).await.unwrap().as_deref(), Some("new"));
    let found = client.get_many::<String>(&pair.keys).await;
    assert_eq!((found.values.len(), found.failed.len()), (1, 0));
    pair.bring_first_back(&[&blocking]);
    until("the server to be asked again", || (!is_out()).then_some(()));
    assert_eq!(client.get::<String>(&pair.keys[1]).await.unwrap(), None);
    assert_eq!(client.incr(&pair.keys[2], 1).await.unwrap(), None);
    let found = client.get_many::<String>(&pair.keys).await;
    assert_eq!((found.values.len(), found.failed.len()), (0, 0));
}

#[test]
fn what_was_put_elsewhere_is_not_served_in_the_next_outage() {
    let pair = Pair::start();
    let (client, another) = (pair.client(), pair.client());
    let [name, untouched, ..] = &pair.keys[..] else { panic!("keys of the first server") };
    pair.lose_first(&[&client, &another]);
    another.set(name, "elsewhere", MINUTE).unwrap();
    another.set(untouched, "elsewhere", MINUTE).unwrap();
    drop(another);
    pair.bring_first_back(&[&client]);
    client.set(name, "back", MINUTE).unwrap();
    pair.lose_first(&[&client]);
    assert_eq!(pair.second.stored(name).as_deref(), Some(&b"elsewhere"[..]), "it is there still");
    assert_eq!(get(&client, name), None);
    let found = client.get_many::<String>([name, untouched]);
    assert_eq!((found.values.len(), found.failed.len()), (0, 0));
    client.set(name, "again", MINUTE).unwrap();
    assert_eq!(get(&client, name).as_deref(), Some("again"));
}

#[test]
fn the_other_servers_own_keys_are_served_throughout() {
    let pair = Pair::start();
    let client = pair.client();
    let theirs: Vec<String> =
        (0..60).map(|i| format!("key{i}")).filter(|name| pair.second.stored(name).is_some()).collect();
    let all_there = || {
        assert_eq!(client.get_many::<String>(&theirs).values.len(), theirs.len());
        assert_eq!(get(&client, &theirs[0]).as_deref(), Some("old"));
    };
    all_there();
    pair.lose_first(&[&client]);
    all_there();
    assert_eq!(get(&client, &pair.keys[0]), None);
    all_there();
    pair.bring_first_back(&[&client]);
    all_there();
}

#[test]
fn a_restart_that_goes_unnoticed_makes_no_value_old() {
    let mut pair = Pair::start();
    let client = pair.client();
    pair.lose_first(&[&client]);
    pair.bring_first_back(&[&client]);
    // Its numbers begin again.
    pair.first.kill();
    pair.first = Memcached::restart(pair.first.port);
    for names in [&pair.keys[..1], &pair.keys[1..3]] {
        let name = &names[0];
        until("a connection to be opened", || client.set(name, "new", MINUTE).ok());
        assert!(pair.is_up(&client));
        let _ = get(&client, name);
        client.set(name, "newer", MINUTE).unwrap();
        assert_eq!(get(&client, name).as_deref(), Some("newer"));
        assert_eq!(client.get_many::<String>(names).values[name], "newer");
    }
}

static CALLS: AtomicU64 = AtomicU64::new(0);

#[memcached(key = "<name>", cache = cache, skip(cache))]
fn computed(cache: &Cache, name: &str) -> String {
    CALLS.fetch_add(1, Ordering::Relaxed);
    name.to_owned()
}

#[test]
fn a_function_is_computed_again_once_and_stored() {
    let pair = Pair::start();
    let (client, cache) = (pair.client(), pair.build(Cache::builder()));
    let name = &pair.keys[0];
    let calls = || {
        assert_eq!(computed(&cache, name), *name);
        CALLS.load(Ordering::Relaxed)
    };
    client.delete(name).unwrap();
    assert_eq!([calls(), calls()], [1, 1]);
    let of_cache = Client::of(&cache);
    pair.lose_first(&[&client, &of_cache]);
    let before = calls();
    assert_eq!(calls(), before, "kept elsewhere");
    pair.bring_first_back(&[&client, &of_cache]);
    assert_eq!([calls(), calls(), calls()], [before + 1; 3]);
}
