//! Many tasks on few connections: each gets its own reply or an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use memocached::{AsyncClient, Error, Protocol, Ttl};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::support::asking::PATIENCE;
use crate::support::memcached::{Memcached, until};

const TASKS: u64 = 96;

fn client(server: &Memcached, timeout: Duration, protocol: Protocol) -> AsyncClient {
    let builder = AsyncClient::builder().servers(server.address()).protocol(protocol);
    builder.pool_size(2).timeout(timeout).build().unwrap()
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Long, and full of what could be taken for a reply.
fn value(number: u64) -> String {
    format!("{number}:") + &"HD\r\nEN\r\nVA 1 O1\r\n".repeat(usize::try_from(number % 50).unwrap())
}

/// Stores and reads one's own value; whether it was there.
async fn visit(client: &AsyncClient, number: u64) -> Result<bool, Error> {
    let key = format!("crowd:{number}");
    client.set(&key, &value(number), Ttl::Forever).await?;
    let found = client.get::<String>(&key).await?;
    assert!(found.as_ref().is_none_or(|found| *found == value(number)), "{key} has another's value");
    Ok(found.is_some())
}

/// How many of all tasks, which visit at once, found their values.
async fn visits(client: &AsyncClient) -> usize {
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move { visit(&client, number).await })
        })
        .collect();
    let mut found = 0;
    for task in tasks {
        found += usize::from(task.await.expect("no task panics").unwrap_or(false));
    }
    found
}

#[test]
fn a_crowd_has_no_more_connections_than_it_may() {
    let server = Memcached::start();
    let before = server.stat("total_connections");
    let client = client(&server, PATIENCE, Protocol::Auto);
    let runtime = runtime();
    for _ in 0..20 {
        assert_eq!(runtime.block_on(visits(&client)), TASKS as usize);
    }
    // The one that asks counts too.
    assert!(server.stat("total_connections") - before <= 2 + 1);
}

/// Visits that found what they stored, and visits that were given up.
#[derive(Default)]
struct Visits {
    found: AtomicU64,
    left: AtomicU64,
}

/// Callers come and go while `disturb` runs, until some have found their own
/// value and some have left; then each finds its own.
fn in_turmoil(server: &mut Memcached, client: &AsyncClient, disturb: impl FnOnce(&mut Memcached)) {
    let runtime = runtime();
    let (over, all) = (Arc::new(AtomicBool::new(false)), Arc::<Visits>::default());
    let visitors: Vec<_> = (0..TASKS)
        .map(|number| {
            let (client, over, all) = (client.clone(), Arc::clone(&over), Arc::clone(&all));
            runtime.spawn(async move {
                let mut dice = number;
                while !over.load(Ordering::Relaxed) {
                    let visitor = client.clone();
                    let visit = tokio::spawn(async move { visit(&visitor, number).await });
                    dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    if dice >> 33 & 3 == 0 {
                        // Anything from before it has begun to after its end.
                        sleep(Duration::from_micros(dice >> 54)).await;
                        visit.abort();
                    }
                    match visit.await {
                        Ok(Ok(true)) => _ = all.found.fetch_add(1, Ordering::Relaxed),
                        Ok(_) => {}
                        Err(error) => {
                            assert!(error.is_cancelled(), "a visitor panicked");
                            all.left.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    // While the circuit is open, there is nothing to wait for.
                    sleep(Duration::from_micros(dice >> 56)).await;
                }
            })
        })
        .collect();
    disturb(server);
    until("some to find their own and some to leave", || {
        let some = |count: &AtomicU64| count.load(Ordering::Relaxed) > 0;
        (some(&all.found) && some(&all.left)).then_some(())
    });
    over.store(true, Ordering::Relaxed);
    for visitor in visitors {
        runtime.block_on(visitor).expect("no visitor panics");
    }
    until("each to find its own", || (runtime.block_on(visits(client)) == TASKS as usize).then_some(()));
}

#[test]
fn callers_that_leave_pass_their_replies_to_no_other() {
    for protocol in [Protocol::Meta, Protocol::Ascii] {
        let mut server = Memcached::start();
        let client = client(&server, PATIENCE, protocol);
        in_turmoil(&mut server, &client, |_| std::thread::sleep(Duration::from_millis(400)));
    }
}

#[test]
fn a_server_that_stops_and_goes_on_gives_each_caller_its_own() {
    let mut server = Memcached::start();
    let client = client(&server, Duration::from_millis(100), Protocol::Auto);
    in_turmoil(&mut server, &client, |server| {
        for pause in [5, 30, 150, 60, 300] {
            std::thread::sleep(Duration::from_millis(100));
            server.freeze();
            std::thread::sleep(Duration::from_millis(pause));
            server.thaw();
        }
    });
}

#[test]
fn a_server_that_is_killed_and_restarted_gives_each_caller_its_own() {
    let mut server = Memcached::start();
    let client = client(&server, PATIENCE, Protocol::Auto);
    in_turmoil(&mut server, &client, |server| {
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(100));
            server.kill();
            *server = Memcached::restart(server.port);
        }
    });
}

#[test]
fn each_runtime_has_a_connection_of_its_own() {
    let server = Memcached::start();
    let client = client(&server, PATIENCE, Protocol::Auto);
    let lasting = runtime();
    let found = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                // A runtime that ends takes its own connection with it, and no
                // other.
                for _ in 0..5 {
                    let passing = Builder::new_current_thread().enable_all().build().unwrap();
                    found.fetch_add(passing.block_on(visits(&client)) as u64, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..10 {
            found.fetch_add(lasting.block_on(visits(&client)) as u64, Ordering::Relaxed);
        }
    });
    assert_eq!(found.into_inner(), 25 * TASKS);
}
