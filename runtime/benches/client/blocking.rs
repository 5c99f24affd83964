//! Blocking clients: one caller, and eight threads.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use memcache::exp::MetaClient;
use memocached::Client;

use super::Keys;
use super::raw::Raw;
use super::timing::{Row, Work};

/// Others need the machine too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
const TTL: Duration = Duration::from_secs(600);
const THREADS: usize = 8;

type Getter = Box<dyn FnMut(&str) -> usize + Send>;
type Setter = Box<dyn FnMut(&str, &[u8]) + Send>;
type Lister = Box<dyn FnMut() -> usize>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Raw,
    Memocached,
    Exp,
    Classic,
}

impl Who {
    pub(crate) const ALL: [Who; 4] = [Who::Raw, Who::Memocached, Who::Exp, Who::Classic];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Who::Raw => "socket loop",
            Who::Memocached => "memocached",
            Who::Exp => "memcache::exp",
            Who::Classic => "memcache",
        }
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Who::ALL.into_iter().find(|who| who.name() == name).ok_or_else(|| format!("who is {name}?"))
    }
}

/// All clients of one server. Threads share each but the raw ones.
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

    fn getter(&self, who: Who) -> Getter {
        match who {
            Who::Raw => {
                let mut raw = Raw::connect(&self.address);
                Box::new(move |key| raw.get(key).len())
            }
            Who::Memocached => {
                let client = self.memocached.clone();
                Box::new(move |key| client.get::<Vec<u8>>(key).unwrap().unwrap().len())
            }
            Who::Exp => {
                let client = Arc::clone(&self.exp);
                Box::new(move |key| client.get(key).send().unwrap().value.unwrap().len())
            }
            Who::Classic => {
                let client = self.classic.clone();
                Box::new(move |key| client.get::<Vec<u8>>(key).unwrap().unwrap().len())
            }
        }
    }

    pub(crate) fn setter(&self, who: Who) -> Setter {
        match who {
            Who::Raw => {
                let mut raw = Raw::connect(&self.address);
                Box::new(move |key, value| raw.set(key, value))
            }
            Who::Memocached => {
                let client = self.memocached.clone();
                Box::new(move |key, value| client.set(key, value, TTL).unwrap())
            }
            Who::Exp => {
                let client = Arc::clone(&self.exp);
                Box::new(move |key, value| drop(client.set(key, value).ttl_raw(600).send().unwrap()))
            }
            Who::Classic => {
                let client = self.classic.clone();
                Box::new(move |key, value| client.set(key, value, 600).unwrap())
            }
        }
    }

    /// Gets a hundred values in a round.
    fn lister(&self, who: Who, keys: &[String]) -> Lister {
        let keys = keys.to_vec();
        match who {
            Who::Raw => {
                let mut raw = Raw::connect(&self.address);
                Box::new(move || raw.get_many(&keys))
            }
            Who::Memocached => {
                let client = self.memocached.clone();
                Box::new(move || client.get_many::<Vec<u8>>(&keys).values.len())
            }
            Who::Exp => {
                let client = Arc::clone(&self.exp);
                Box::new(move || {
                    let gets = keys.iter().map(|key| client.get(key).into_operation());
                    client.run_many(gets).unwrap().len()
                })
            }
            Who::Classic => {
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
    let row = |name, work: &dyn Fn(Who) -> Work| Row {
        name,
        callers: 1,
        contenders: Who::ALL.into_iter().map(|who| (who.name(), work(who))).collect(),
    };
    let mut many = row("get 100 x 100 B", &|who| listing(clients.lister(who, &keys.small)));
    many.contenders.insert(1, ("socket loop, by key", listing(by_key(address, &keys.small))));
    let threads = |who| threads((0..THREADS).map(|_| getting_anywhere(clients.getter(who), &keys.small)).collect());
    vec![
        row("get 100 B", &|who| getting(clients.getter(who), &keys.small)),
        row("get 1 KiB", &|who| getting(clients.getter(who), &keys.middle)),
        row("get 16 KiB", &|who| getting(clients.getter(who), &keys.large)),
        row("set 100 B", &|who| setting(clients.setter(who), &keys.small, 100)),
        row("set 1 KiB", &|who| setting(clients.setter(who), &keys.middle, 1024)),
        many,
        Row { callers: THREADS, ..row("8 threads, get 100 B", &threads) },
    ]
}

/// For other programs to look at: one client gets one value again and again.
pub(crate) fn gets(who: Who, address: &str, times: usize) {
    let clients = Blocking::new(address);
    let mut get = clients.getter(who);
    for _ in 0..times {
        get("bench:calls");
    }
}

/// The same with a hundred values at once.
pub(crate) fn lists(who: Who, address: &str, times: usize) {
    let clients = Blocking::new(address);
    let keys: Vec<String> = (0..100).map(|number| format!("bench:list:{number}")).collect();
    let mut set = clients.setter(Who::Raw);
    keys.iter().for_each(|key| set(key, &[b'x'; 100]));
    let mut list = clients.lister(who, &keys);
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
