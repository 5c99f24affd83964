//! Async clients: one task, and eight and sixty-four on two threads.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use async_memcached::AsciiProtocol;
use memcache::exp::AsyncMetaClient;
use memocached::AsyncClient;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use super::Keys;
use super::blocking::PATIENCE;
use super::timing::{Row, Work};

const TTL: Duration = Duration::from_secs(600);

#[derive(Clone, Copy)]
enum Who {
    Memocached,
    Exp,
    AsyncMemcached,
    /// With a time limit, as the others have it.
    AsyncMemcachedInTime,
}

/// What one task works with.
enum Client {
    Memocached(AsyncClient),
    Exp(Arc<AsyncMetaClient>),
    /// One connection, and so one for each task.
    AsyncMemcached(Box<async_memcached::Client>),
    AsyncMemcachedInTime(Box<async_memcached::Client>),
}

async fn async_memcached(address: &str) -> Box<async_memcached::Client> {
    Box::new(async_memcached::Client::new(format!("tcp://{address}")).await.unwrap())
}

impl Who {
    /// The one that the others are held against comes first.
    const ALL: [Who; 4] = [Who::Exp, Who::Memocached, Who::AsyncMemcached, Who::AsyncMemcachedInTime];

    fn name(self) -> &'static str {
        match self {
            Who::Memocached => "memocached",
            Who::Exp => "memcache::exp",
            Who::AsyncMemcached => "async-memcached",
            Who::AsyncMemcachedInTime => "async-memcached in time",
        }
    }

    async fn clients(self, address: &str, tasks: usize) -> Vec<Client> {
        let memocached = AsyncClient::builder().servers(address).timeout(PATIENCE).build().unwrap();
        let exp = Arc::new(AsyncMetaClient::connect(address).await.unwrap());
        let mut clients = Vec::new();
        for _ in 0..tasks {
            clients.push(match self {
                Who::Memocached => Client::Memocached(memocached.clone()),
                Who::Exp => Client::Exp(Arc::clone(&exp)),
                Who::AsyncMemcached => Client::AsyncMemcached(async_memcached(address).await),
                Who::AsyncMemcachedInTime => Client::AsyncMemcachedInTime(async_memcached(address).await),
            });
        }
        clients
    }
}

impl Client {
    async fn get(&mut self, key: &str) -> usize {
        match self {
            Client::Memocached(client) => client.get::<Vec<u8>>(key).await.unwrap().unwrap().len(),
            Client::Exp(client) => client.get(key).send().await.unwrap().value.unwrap().len(),
            Client::AsyncMemcached(client) => client.get(key).await.unwrap().unwrap().data.unwrap().len(),
            Client::AsyncMemcachedInTime(client) => {
                timeout(PATIENCE, client.get(key)).await.unwrap().unwrap().unwrap().data.unwrap().len()
            }
        }
    }

    async fn set(&mut self, key: &str, value: &[u8]) {
        match self {
            Client::Memocached(client) => client.set(key, value, TTL).await.unwrap(),
            Client::Exp(client) => drop(client.set(key, value).ttl_raw(600).send().await.unwrap()),
            Client::AsyncMemcached(client) => client.set(key, value, Some(600), None).await.unwrap(),
            Client::AsyncMemcachedInTime(client) => {
                timeout(PATIENCE, client.set(key, value, Some(600), None)).await.unwrap().unwrap();
            }
        }
    }

    async fn get_many(&mut self, keys: &[String]) -> usize {
        match self {
            Client::Memocached(client) => client.get_many::<Vec<u8>>(keys).await.values.len(),
            Client::Exp(client) => {
                let gets = keys.iter().map(|key| client.get(key).into_operation());
                client.run_many(gets).await.unwrap().len()
            }
            Client::AsyncMemcached(client) => client.get_multi(keys).await.unwrap().len(),
            Client::AsyncMemcachedInTime(client) => {
                timeout(PATIENCE, client.get_multi(keys)).await.unwrap().unwrap().len()
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Deed {
    Get,
    Set,
    GetMany,
}

pub(crate) fn rows(address: &str, keys: &Keys) -> Vec<Row> {
    let keys: Arc<[String]> = keys.small.clone().into();
    let row = |name, tasks, deed| Row {
        name,
        callers: tasks,
        contenders: Who::ALL.into_iter().map(|who| (who.name(), work(who, address, &keys, tasks, deed))).collect(),
    };
    vec![
        row("1 task, get 100 B", 1, Deed::Get),
        row("1 task, set 100 B", 1, Deed::Set),
        row("1 task, get 100 x 100 B", 1, Deed::GetMany),
        row("8 tasks, get 100 B", 8, Deed::Get),
        row("64 tasks, get 100 B", 64, Deed::Get),
    ]
}

/// For other programs to look at: one task gets one value again and again.
pub(crate) fn gets(who: &str, address: &str, times: usize) {
    let who = Who::ALL.into_iter().find(|known| known.name() == who).unwrap();
    work(who, address, &[String::from("bench:calls")].into(), 1, Deed::Get)(times);
}

fn work(who: Who, address: &str, keys: &Arc<[String]>, tasks: usize, deed: Deed) -> Work {
    let runtime = Rc::new(runtime(tasks));
    let mut clients = runtime.block_on(who.clients(address, tasks));
    let keys = Arc::clone(keys);
    if let [client] = &mut clients[..] {
        let mut client = std::mem::replace(client, Client::Memocached(AsyncClient::builder().build().unwrap()));
        return Box::new(move |times| runtime.block_on(repeat(&mut client, &keys, times, deed)));
    }
    Box::new(move |times| {
        clients = runtime.block_on(async {
            let work = std::mem::take(&mut clients).into_iter().map(|mut client| {
                let keys = Arc::clone(&keys);
                tokio::spawn(async move {
                    repeat(&mut client, &keys, times / tasks, deed).await;
                    client
                })
            });
            let mut clients = Vec::new();
            for work in work.collect::<Vec<_>>() {
                clients.push(work.await.unwrap());
            }
            clients
        });
    })
}

fn runtime(tasks: usize) -> Runtime {
    let mut builder = if tasks == 1 { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    builder.worker_threads(2).enable_all().build().unwrap()
}

async fn repeat(client: &mut Client, keys: &[String], times: usize, deed: Deed) {
    for key in keys.iter().cycle().take(times) {
        match deed {
            Deed::Get => assert_ne!(client.get(key).await, 0),
            Deed::Set => client.set(key, &[b'x'; 100]).await,
            Deed::GetMany => assert_eq!(client.get_many(keys).await, keys.len()),
        }
    }
}
