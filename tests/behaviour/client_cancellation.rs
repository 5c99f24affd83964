//! A call that was given up leaves nothing behind for the next.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use memocached::{AsyncClient, ErrorKind, Protocol};

use crate::support::client::{MINUTE, Setup};
use crate::support::memcached::{Memcached, until};

const ROUNDS: usize = 200;

fn key(n: usize) -> String {
    format!("key:{}", n % 50)
}

/// Values of several lengths, so that a stray byte shows as well.
fn value(n: usize) -> String {
    format!("value of {}{}", n % 50, ".".repeat(n % 50 * 7))
}

fn items() -> impl Iterator<Item = (String, String)> {
    (0..50).map(|n| (key(n), value(n)))
}

/// With connections enough for one caller: whatever is left on it, the next
/// call would read.
fn setups(servers: &[Memcached], timeout: Duration) -> [Setup; 2] {
    [Protocol::Meta, Protocol::Ascii].map(|protocol| Setup { protocol, timeout, pool_size: 1, ..Setup::on(servers) })
}

#[test]
fn a_call_that_timed_out_leaves_no_reply_for_the_next() {
    let server = [Memcached::start()];
    let patient = Setup::on(&server).blocking();
    assert!(patient.set_many(items(), MINUTE).is_empty());
    for setup in setups(&server, Duration::from_millis(5)) {
        let client = setup.blocking();
        let expected = [ErrorKind::Timeout, ErrorKind::OutOfTime, ErrorKind::CircuitOpen];
        let mut timeouts = 0;
        for n in 0..ROUNDS / 2 {
            // Opened before the server stops.
            until("a connection", || client.get::<String>(key(n)).ok());
            server[0].freeze();
            let error = match n % 4 {
                0 => client.get::<String>(key(n)).err(),
                1 => client.set(key(n), &value(n), MINUTE).err(),
                2 => client.get_many::<String>([key(n), key(n + 1)]).failed.into_iter().next().map(|(_, error)| error),
                _ => client.incr("nothing", 1).err(),
            };
            // Now and then it stops a moment later than it was told to.
            timeouts += usize::from(error.is_some_and(|error| error.kind() == ErrorKind::Timeout));
            server[0].thaw();
            for other in [n + 1, n + 2] {
                match client.get::<String>(key(other)) {
                    Ok(found) => assert_eq!(found, Some(value(other)), "in round {n}"),
                    // It takes the server a moment to go on.
                    Err(error) => assert!(expected.contains(&error.kind()), "in round {n}: {error}"),
                }
            }
        }
        assert!(timeouts > ROUNDS / 4, "{timeouts} calls timed out");
    }
}

/// Runs a call until it waits, and drops it.
async fn give_up<T>(call: impl Future<Output = T>) {
    let mut call = pin!(call);
    let _ = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
}

async fn give_up_in_turn(client: &AsyncClient, server: &Memcached) {
    for n in 0..ROUNDS / 2 {
        assert_eq!(client.get::<String>(key(n)).await.unwrap(), Some(value(n)));
        server.freeze();
        match n % 4 {
            0 => give_up(client.get::<String>(key(n))).await,
            1 => give_up(client.set(key(n), &value(n), MINUTE)).await,
            2 => give_up(client.get_many::<String>([key(n), key(n + 1)])).await,
            _ => give_up(client.incr("nothing", 1)).await,
        }
        server.thaw();
        assert_eq!(client.get::<String>(key(n + 1)).await.unwrap(), Some(value(n + 1)), "in round {n}");
        let found = client.get_many::<String>([key(n + 2), key(n + 3)]).await;
        assert_eq!(found.values, [(key(n + 2), value(n + 2)), (key(n + 3), value(n + 3))].into(), "in round {n}");
    }
}

#[tokio::test]
async fn a_call_that_was_dropped_leaves_no_reply_for_the_next() {
    let server = [Memcached::start()];
    for setup in setups(&server, Duration::from_secs(10)) {
        let client = setup.on_tokio();
        assert!(client.set_many(items(), MINUTE).await.is_empty());
        give_up_in_turn(&client, &server[0]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_was_aborted_anywhere_leaves_no_reply_for_the_next() {
    let server = [Memcached::start()];
    for setup in setups(&server, Duration::from_secs(10)) {
        let client = setup.on_tokio();
        assert!(client.set_many(items(), MINUTE).await.is_empty());
        for n in 0..ROUNDS {
            let task = tokio::spawn({
                let client = client.clone();
                async move {
                    loop {
                        assert_eq!(client.get::<String>(key(n)).await.unwrap(), Some(value(n)));
                        assert_eq!(client.get_many::<String>([key(n)]).await.values[&key(n)], value(n));
                    }
                }
            });
            for _ in 0..n % 10 {
                assert_eq!(client.get::<String>(key(n + 1)).await.unwrap(), Some(value(n + 1)));
            }
            task.abort();
            assert_eq!(client.get::<String>(key(n + 2)).await.unwrap(), Some(value(n + 2)), "in round {n}");
            assert!(task.await.unwrap_err().is_cancelled());
        }
    }
}
