//! The connections of a client: kept, shared, given up, and opened anew.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use memocached::{AsyncClient, Error};
use tokio::runtime::{Builder, Runtime};

use crate::support::client::{AnyClient, MINUTE, Setup, names, only};
use crate::support::memcached::{Memcached, until};

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap()
}

/// Each key has a value of its own: another's would be noticed.
async fn use_keys(client: &AsyncClient, of: &str, rounds: usize) {
    for round in 0..rounds {
        let (key, value) = (format!("{of}:{round}"), format!("value of {of}:{round}"));
        client.set(&key, &value, MINUTE).await.unwrap();
        assert_eq!(client.get::<String>(&key).await.unwrap(), Some(value.clone()));
        let found = client.get_many::<String>([key.as_str(), "nothing"]).await;
        assert_eq!(found.values, [(key.clone(), value)].into());
        assert!(client.delete(&key).await.unwrap());
    }
}

#[test]
fn a_client_that_was_closed_can_be_used_again() {
    let server = [Memcached::start()];
    let quiet = (0..20).map(|_| server[0].stat("curr_connections")).min().unwrap();
    for close in [AnyClient::close, AnyClient::quit] {
        for client in Setup::on(&server).both() {
            // Those of tests come and go too; closed ones are noticed late.
            let open = |connections: u64| {
                let stat = || server[0].stat("curr_connections");
                until("connections to come and go", || (stat() == quiet + connections).then_some(()));
            };
            for _ in 0..3 {
                client.set("k", &1, MINUTE).unwrap();
                open(1);
                close(&client);
                open(0);
            }
            assert_eq!(client.get::<u64>("k").unwrap(), Some(1));
        }
    }
}

#[test]
fn a_restart_of_the_server_is_not_noticed() {
    let mut server = Memcached::start();
    let reads: [fn(&AnyClient); 5] = [
        |client| assert_eq!(client.get::<u64>("k").unwrap(), None),
        |client| assert_eq!(client.gets::<u64>("k").unwrap(), None),
        |client| assert!(client.get_many::<u64>(&names(&["k", "l"])).failed.is_empty()),
        |client| assert!(only(client.stats()).is_ok()),
        |client| assert!(only(client.version()).is_ok()),
    ];
    for read in reads {
        let clients = Setup::on(std::slice::from_ref(&server)).both();
        clients.iter().for_each(|client| client.set("k", &1, MINUTE).unwrap());
        server.kill();
        server = Memcached::restart(server.port);
        clients.iter().for_each(read);
    }
    // A write may not be sent twice: the connection must be known to be broken.
    let clients = Setup::on(std::slice::from_ref(&server)).both();
    clients.iter().for_each(|client| client.set("k", &1, MINUTE).unwrap());
    server.kill();
    server = Memcached::restart(server.port);
    // The blocking client looks at connections only after a while, and a
    // runtime hears of them only while it runs.
    for client in &clients {
        let pause = Duration::from_millis(110);
        match client {
            AnyClient::Blocking(_) => std::thread::sleep(pause),
            AnyClient::Async(_, runtime) => runtime.block_on(async { tokio::time::sleep(pause).await }),
        }
    }
    clients.iter().for_each(|client| client.set("k", &1, MINUTE).unwrap());
    clients.iter().for_each(|client| assert!(client.set_many(vec![("l".to_owned(), 1)], MINUTE).is_empty()));
    assert!(server.stored("k").is_some() && server.stored("l").is_some());
}

#[test]
fn one_async_client_serves_runtimes_one_after_the_other() {
    let server = [Memcached::start()];
    let client = Setup { pool_size: 2, ..Setup::on(&server) }.on_tokio();
    for n in 0..20 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(use_keys(&client, &format!("runtime {n}").replace(' ', "-"), 5));
    }
    // Connections of runtimes that have ended can still be closed.
    client.quit();
    runtime(1).block_on(use_keys(&client, "last", 5));
}

#[test]
fn one_async_client_serves_runtimes_at_once() {
    let server = [Memcached::start()];
    let client = Setup { pool_size: 3, ..Setup::on(&server) }.on_tokio();
    std::thread::scope(|scope| {
        for n in 0..6 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..4 {
                    runtime(1).block_on(use_keys(client, &format!("{n}:{round}"), 20));
                }
            });
        }
    });
}

#[test]
fn tasks_that_share_few_connections_get_their_own_values() {
    let servers = [(); 2].map(|()| Memcached::start());
    let client = Setup { pool_size: 4, ..Setup::on(&servers) }.on_tokio();
    runtime(2).block_on(async {
        let tasks: Vec<_> = (0..64)
            .map(|task| {
                let client = client.clone();
                tokio::spawn(async move { use_keys(&client, &format!("task:{task}"), 25).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    for server in &servers {
        // Those of this test, the shared one among them, and of the questions.
        assert!(server.stat("total_connections") <= 4 + 3, "{}", server.stat("total_connections"));
    }
}

#[test]
fn threads_that_share_few_connections_get_their_own_values() {
    let servers = [(); 2].map(|()| Memcached::start());
    let client = Setup { pool_size: 4, ..Setup::on(&servers) }.blocking();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let client = &client;
            scope.spawn(move || {
                for round in 0..100 {
                    let (key, value) = (format!("{thread}:{round}"), format!("value of {thread}:{round}"));
                    client.set(&key, &value, MINUTE).unwrap();
                    assert_eq!(client.get::<String>(&key).unwrap(), Some(value.clone()));
                    let found = client.get_many::<String>([key.as_str(), "nothing"]);
                    assert_eq!(found.values, [(key.clone(), value)].into());
                    assert!(client.delete(&key).unwrap());
                }
            });
        }
    });
    for server in &servers {
        assert!(server.stat("total_connections") <= 4 + 3, "{}", server.stat("total_connections"));
    }
}

/// Takes all connections that the server has left, until these are dropped.
fn use_up(server: &Memcached) -> Vec<TcpStream> {
    let mut taken = Vec::new();
    until("the server to be full", || {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).ok()?;
        let mut answer = [0; 5];
        let asked = stream.write_all(b"mn\r\n").and_then(|()| stream.read(&mut answer));
        let is_full = !matches!(asked, Ok(read) if answer[..read].starts_with(b"MN"));
        taken.push(stream);
        is_full.then_some(())
    });
    taken
}

#[test]
fn a_server_that_takes_no_more_connections_is_asked_on_those_there_are() {
    let server = [Memcached::start_with(&["-c", "32"])];
    for client in Setup::on(&server).both() {
        // The connections of the round before may not be gone yet.
        until("a connection", || client.set("k", &1, MINUTE).ok());
        let taken = use_up(&server[0]);
        let failed: Vec<Error> = match &client {
            AnyClient::Blocking(client) => std::thread::scope(|scope| {
                let threads: Vec<_> = (0..16)
                    .map(|_| scope.spawn(|| (0..50).filter_map(|_| client.get::<u64>("k").err()).collect::<Vec<_>>()))
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            }),
            AnyClient::Async(client, runtime) => runtime.block_on(async {
                let tasks = (0..16).map(|_| {
                    let client = client.clone();
                    tokio::spawn(async move {
                        let mut failed = Vec::new();
                        for _ in 0..50 {
                            failed.extend(client.get::<u64>("k").await.err());
                        }
                        failed
                    })
                });
                let mut failed = Vec::new();
                for task in tasks.collect::<Vec<_>>() {
                    failed.extend(task.await.unwrap());
                }
                failed
            }),
        };
        assert!(failed.is_empty(), "{client:?}: {} of 800 failed, the first as {:?}", failed.len(), failed[0]);
        drop(taken);
    }
}
