//! Blocking clients, used by one caller and by eight threads.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use memcache::exp::MetaClient;
use memocached::Client;

use super::Keys;
use super::raw::Raw;
use super::timing::{Row, Work};

/// Long, since other processes use the machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
const TTL: Duration = Duration::from_secs(600);
const THREADS: usize = 8;

type Getter = Box<dyn FnMut(&str) -> usize + Send>;
type Setter = Box<dyn FnMut(&str, &[u8]) + Send>;
type Lister = Box<dyn FnMut() -> usize>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Raw,
    Memocached,
    Exp,
    Classic,
}

impl Contender {
    pub(crate) const ALL: [Contender; 4] = [Contender::Raw, Contender::Memocached, Contender::Exp, Contender::Classic];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Contender::Raw => "socket loop",
            Contender::Memocached => "memocached",
            Contender::Exp => "memcache::exp",
            Contender::Classic => "memcache",
        }
    }
}

impl FromStr for Contender {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Contender::ALL
            .into_iter()
            .find(|contender| contender.name() == name)
            .ok_or_else(|| format!("unknown client `{name}`"))
    }
}

/// All clients of one server. Threads share each of them except the raw ones.
pub(crate) struct Blocking {
    address: String,
    memocached: Client,
    exp: Arc<MetaClient>,
    classic: memcache::Client,
}

impl Blocking {
    pub(crate) fn new(address: &str) -> Self {
        let classic = format!("memcache://{address}?protocol=ascii");
        Blocking {
            address: address.to_owned(),
            memocached: Client::builder().servers(address).timeout(PATIENCE).build().unwrap(),
            exp: Arc::new(MetaClient::connect(address).unwrap()),
            classic: memcache::Client::with_pool_size(classic, THREADS as u32).unwrap(),
        }
    }

    fn getter(&self, contender: Contender) -> Getter {
        match contender {
            Contender::Raw => {
                let mut raw = Raw::connect(&self.address);
                Box::new(move |key| raw.get(key).len())
            }
            Contender::Memocached => {
                let client = self.memocached.clone();
                Box::new(move |key| client.get::<Vec<u8>>(key).unwrap().unwrap().len())
            }
            Contender::Exp => {
                let client = Arc::clone(&self.exp);
                Box::new(move |key| client.get(key).send().unwrap().value.unwrap().len())
            }
            Contender::Classic => {
                let client = self.classic.clone();
                Box::new(move |key| client.get::<Vec<u8>>(key).unwrap().unwrap().len())
            }
        }
    }

    pub(crate) fn setter(&self, contender: Contender) -> Setter {
        match contender {
            Contender::Raw => {
                let mut raw = Raw::connect(&self.address);
                Box::new(move |key, value| raw.set(key, value))
            }
            Contender::Memocached => {
                let client = self.memocached.clone();
                Box::new(move |key, value| client.set(key, value, TTL).unwrap())
            }
            Contender::Exp => {
                let client = Arc::clone(&self.exp);
                Box::new(move |key, value| drop(client.set(key, value).ttl_raw(600).send().unwrap()))
            }
            Contender::Classic => {
                let client = self.classic.clone();
                Box::new(move |key, value| client.set(key, value, 600).unwrap())
            }
        }
    }

    /// Returns a function that gets a hundred values at once.
    fn lister(&self, contender: Contender, keys: &[String]) -> Lister {
        let keys = keys.to_vec();
        match contender {
            Contender::Raw => {
                let mut raw = Raw::connect(&self.address);
                Box::new(move || raw.get_many(&keys))
            }
            Contender::Memocached => {
                let client = self.memocached.clone();
                Box::new(move || client.get_many::<Vec<u8>>(&keys).values.len())
            }
            Contender::Exp => {
                let client = Arc::clone(&self.exp);
                Box::new(move || {
                    let gets = keys.iter().map(|key| client.get(key).into_operation());
                    client.run_many(gets).unwrap().len()
                })
            }
            Contender::Classic => {
                let client = self.classic.clone();
                Box::new(move || {
                    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                    client.gets::<Vec<u8>>(&keys).unwrap().len()
                })
            }
        }
    }
}

pub(crate) fn rows(address: &str, keys: &Keys) -> Vec<Row> {
    let clients = Blocking::new(address);
    let row = |name, work: &dyn Fn(Contender) -> Work| Row {
        name,
        callers: 1,
        contenders: Contender::ALL.into_iter().map(|contender| (contender.name(), work(contender))).collect(),
    };
    let mut many = row("get 100 x 100 B", &|contender| listing(clients.lister(contender, &keys.small)));
    many.contenders.insert(1, ("socket loop, by key", listing(by_key(address, &keys.small))));
    let threads =
        |contender| threads((0..THREADS).map(|_| getting_anywhere(clients.getter(contender), &keys.small)).collect());
    vec![
        row("get 100 B", &|contender| getting(clients.getter(contender), &keys.small)),
        row("get 1 KiB", &|contender| getting(clients.getter(contender), &keys.middle)),
        row("get 16 KiB", &|contender| getting(clients.getter(contender), &keys.large)),
        row("set 100 B", &|contender| setting(clients.setter(contender), &keys.small, 100)),
        row("set 1 KiB", &|contender| setting(clients.setter(contender), &keys.middle, 1024)),
        many,
        Row { callers: THREADS, ..row("8 threads, get 100 B", &threads) },
    ]
}

/// Gets one value over and over with one client, for observation by other
/// programs.
pub(crate) fn gets(contender: Contender, address: &str, times: usize) {
    let clients = Blocking::new(address);
    let mut get = clients.getter(contender);
    for _ in 0..times {
        get("bench:calls");
    }
}

/// Gets a hundred values at once, over and over.
pub(crate) fn lists(contender: Contender, address: &str, times: usize) {
    let clients = Blocking::new(address);
    let keys: Vec<String> = (0..100).map(|number| format!("bench:list:{number}")).collect();
    let mut set = clients.setter(Contender::Raw);
    keys.iter().for_each(|key| set(key, &[b'x'; 100]));
    let mut list = clients.lister(contender, &keys);
    for _ in 0..times {
        list();
    }
}

fn getting_anywhere(mut get: Getter, keys: &[String]) -> Box<dyn FnMut(usize) + Send> {
    let keys = keys.to_vec();
    Box::new(move |times| {
        for key in keys.iter().cycle().take(times) {
            assert_ne!(get(key), 0);
        }
    })
}

fn getting(get: Getter, keys: &[String]) -> Work {
    getting_anywhere(get, keys)
}

fn setting(mut set: Setter, keys: &[String], size: usize) -> Work {
    let (keys, value) = (keys.to_vec(), vec![b'x'; size]);
    Box::new(move |times| keys.iter().cycle().take(times).for_each(|key| set(key, &value)))
}

fn listing(mut list: Lister) -> Work {
    Box::new(move |times| {
        for _ in 0..times {
            assert!(list() >= 100);
        }
    })
}

fn by_key(address: &str, keys: &[String]) -> Lister {
    let (mut raw, keys) = (Raw::connect(address), keys.to_vec());
    Box::new(move || raw.get_map(&keys).len())
}

fn threads(mut workers: Vec<Box<dyn FnMut(usize) + Send>>) -> Work {
    Box::new(move |times| {
        std::thread::scope(|scope| {
            for worker in &mut workers {
                scope.spawn(move || worker(times / THREADS));
            }
        });
    })
}
