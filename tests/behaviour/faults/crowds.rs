//! Every fault, among many callers that share connections: none gets what is
//! another's.

use std::sync::Mutex;
use std::time::Duration;

use memocached::{AsyncClient, Client, Error, ErrorKind, Protocol, Ttl};

use super::rows::{Ends, ROWS, Row};
use crate::support::memcached::{Memcached, until};
use crate::support::proxy::{Fault, Form, Pace, Proxy, Then};

const TASKS: usize = 24;
/// One in so many replies is hit.
const ODDS: u64 = 7;

/// Long, and full of what could be taken for a reply.
fn value(number: usize) -> String {
    format!("{number}:") + &"HD\r\nEN\r\nVA 1 O1\r\nSTORED\r\nEND\r\n".repeat(number)
}

/// Stores one's own value and looks for it; whether it was there.
async fn visit(client: &AsyncClient, number: usize) -> Result<bool, Error> {
    let key = format!("crowds:{number}");
    let stored = client.set(&key, &value(number), Ttl::Forever).await;
    let found = client.get::<String>(&key).await?;
    if let Some(found) = &found {
        assert_eq!(*found, value(number), "{key} has another's value");
    }
    stored.map(|()| found.is_some())
}

/// How many found their own, where all visit at once.
async fn visits(client: &AsyncClient) -> usize {
    let visits = (0..TASKS).map(|number| {
        let client = client.clone();
        tokio::spawn(async move { visit(&client, number).await })
    });
    let mut found = 0;
    for visit in visits.collect::<Vec<_>>() {
        found += usize::from(visit.await.expect("no task panics").unwrap_or(false));
    }
    found
}

fn survives(row: &'static Row, protocol: Protocol, proxy: &Proxy) {
    let timeout = if row.ends == Ends::Broken(ErrorKind::Timeout) { 60 } else { 20_000 };
    let client = AsyncClient::builder().servers(proxy.address()).protocol(protocol).pool_size(2);
    let client = client.timeout(Duration::from_millis(timeout)).retry_after(Duration::from_millis(5)).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    until("each to find its own", || (runtime.block_on(visits(&client)) == TASKS).then_some(()));
    proxy.follow(|reply| (reply % ODDS == ODDS - 1).then_some(row.fault));
    for _ in 0..3 {
        runtime.block_on(visits(&client));
    }
    proxy.heal();
    until("each to find its own", || (runtime.block_on(visits(&client)) == TASKS).then_some(()));
}

#[test]
fn whatever_goes_wrong_in_a_crowd_no_caller_gets_what_is_anothers() {
    // Where bytes are lost within a stream, what follows may by chance end as a
    // value does. TCP does not lose any; and only functions' values have a
    // checksum.
    let loses = |row: &&Row| row.fault.form == Form::Half && row.fault.then == Then::GoOn;
    let rows = ROWS.iter().filter(|row| !loses(row)).flat_map(|row| [(row, Protocol::Auto), (row, Protocol::Ascii)]);
    let rows = Mutex::new(rows.collect::<Vec<_>>());
    let next = || rows.lock().unwrap().pop();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // The crowds have the same names.
                let server = Memcached::start();
                let proxy = Proxy::before(server.port);
                while let Some((row, protocol)) = next() {
                    survives(row, protocol, &proxy);
                }
            });
        }
    });
}

/// A broken proxy may mix up connections that have asked equally often.
#[test]
fn a_reply_to_another_connection_is_refused() {
    let server = Memcached::start();
    let proxy = Proxy::before(server.port);
    let clients = ["one", "other"].map(|key| {
        let client = Client::builder().servers(proxy.address()).pool_size(1).build().unwrap();
        client.set(key, key, Ttl::Forever).expect("it is stored");
        client
    });
    assert_eq!(clients[0].get::<String>("one").unwrap().as_deref(), Some("one"));
    proxy.inflict(Fault { form: Form::Swapped, pace: Pace::AtOnce, then: Then::GoOn }, 0);
    let error = clients[1].get::<String>("other").expect_err("the reply is the first client's");
    assert_eq!(error.kind(), ErrorKind::Protocol);
}
