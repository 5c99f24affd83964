//! Async clients, used by one task, and by eight and sixty-four on two threads.

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
enum Contender {
    Memocached,
    Exp,
    AsyncMemcached,
    /// With a timeout, as the other clients have one.
    AsyncMemcachedInTime,
}

/// The client of one task.
enum Client {
    Memocached(AsyncClient),
    Exp(Arc<AsyncMetaClient>),
    /// A single connection, so each task has its own.
    AsyncMemcached(Box<async_memcached::Client>),
    AsyncMemcachedInTime(Box<async_memcached::Client>),
}

async fn async_memcached(address: &str) -> Box<async_memcached::Client> {
    Box::new(async_memcached::Client::new(format!("tcp://{address}")).await.unwrap())
}

impl Contender {
    /// The first is the one that the others are compared with.
    const ALL: [Contender; 4] =
        [Contender::Exp, Contender::Memocached, Contender::AsyncMemcached, Contender::AsyncMemcachedInTime];

    fn name(self) -> &'static str {
        match self {
            Contender::Memocached => "memocached",
            Contender::Exp => "memcache::exp",
            Contender::AsyncMemcached => "async-memcached",
            Contender::AsyncMemcachedInTime => "async-memcached in time",
        }
    }

    async fn clients(self, address: &str, tasks: usize) -> Vec<Client> {
        let memocached = AsyncClient::builder().servers(address).timeout(PATIENCE).build().unwrap();
        let exp = Arc::new(AsyncMetaClient::connect(address).await.unwrap());
        let mut clients = Vec::new();
        for _ in 0..tasks {
            clients.push(match self {
                Contender::Memocached => Client::Memocached(memocached.clone()),
                Contender::Exp => Client::Exp(Arc::clone(&exp)),
                Contender::AsyncMemcached => Client::AsyncMemcached(async_memcached(address).await),
                Contender::AsyncMemcachedInTime => Client::AsyncMemcachedInTime(async_memcached(address).await),
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
enum Operation {
    Get,
    Set,
    GetMany,
}

pub(crate) fn rows(address: &str, keys: &Keys) -> Vec<Row> {
    let keys: Arc<[String]> = keys.small.clone().into();
    let row = |name, tasks, operation| Row {
        name,
        callers: tasks,
        contenders: Contender::ALL
            .into_iter()
            .map(|contender| (contender.name(), work(contender, address, &keys, tasks, operation)))
            .collect(),
    };
    vec![
        row("1 task, get 100 B", 1, Operation::Get),
        row("1 task, set 100 B", 1, Operation::Set),
        row("1 task, get 100 x 100 B", 1, Operation::GetMany),
        row("8 tasks, get 100 B", 8, Operation::Get),
        row("64 tasks, get 100 B", 64, Operation::Get),
        Row {
            name: "10,000 tasks at once",
            callers: BURST,
            contenders: [("limit of 2 s", Duration::from_secs(2)), ("memocached", Duration::from_millis(100))]
                .map(|(name, limit)| (name, burst(address, &keys, limit)))
                .into(),
        },
    ]
}

const BURST: usize = 10_000;

/// Gets one value in each of very many tasks at once, whatever time each may take.
fn burst(address: &str, keys: &Arc<[String]>, limit: Duration) -> Work {
    let (runtime, keys) = (runtime(BURST), Arc::clone(keys));
    let client = AsyncClient::builder().servers(address).timeout(limit).build().unwrap();
    Box::new(move |times| {
        for begin in (0..times).step_by(BURST) {
            let at_once = BURST.min(times - begin);
            let get = |key: &String| {
                let (client, key) = (client.clone(), key.clone());
                runtime.spawn(async move { client.get::<Vec<u8>>(key).await.is_ok() })
            };
            let tasks: Vec<_> = keys.iter().cycle().take(at_once).map(get).collect();
            let got = tasks.into_iter().map(|task| runtime.block_on(task).unwrap());
            let failed = got.filter(|got| !got).count();
            assert!(failed <= BURST / 100, "{failed} of {at_once} failed within {limit:?}");
        }
    })
}

/// Gets one value over and over in one task, for observation by other programs.
pub(crate) fn gets(contender: &str, address: &str, times: usize) {
    let contender = Contender::ALL.into_iter().find(|known| known.name() == contender).unwrap();
    work(contender, address, &[String::from("bench:calls")].into(), 1, Operation::Get)(times);
}

fn work(contender: Contender, address: &str, keys: &Arc<[String]>, tasks: usize, operation: Operation) -> Work {
    let runtime = Rc::new(runtime(tasks));
    let mut clients = runtime.block_on(contender.clients(address, tasks));
    let keys = Arc::clone(keys);
    if let [client] = &mut clients[..] {
        let mut client = std::mem::replace(client, Client::Memocached(AsyncClient::builder().build().unwrap()));
        return Box::new(move |times| runtime.block_on(repeat(&mut client, &keys, times, operation)));
    }
    Box::new(move |times| {
        clients = runtime.block_on(async {
            let work = std::mem::take(&mut clients).into_iter().map(|mut client| {
                let keys = Arc::clone(&keys);
                tokio::spawn(async move {
                    repeat(&mut client, &keys, times / tasks, operation).await;
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

async fn repeat(client: &mut Client, keys: &[String], times: usize, operation: Operation) {
    for key in keys.iter().cycle().take(times) {
        match operation {
            Operation::Get => assert_ne!(client.get(key).await, 0),
            Operation::Set => client.set(key, &[b'x'; 100]).await,
            Operation::GetMany => assert_eq!(client.get_many(keys).await, keys.len()),
        }
    }
}
