//! The blocking and the async client behind one face, so that one text tests
//! both.

use std::collections::BTreeMap;
use std::time::Duration;

use memocached::{
    AsyncClient, Build, Builder, CasOutcome, Client, Codec, Error, Failures, FromItem, Many, PerNode, Protocol, ToItem,
    Ttl, Versioned,
};
use tokio::runtime::Runtime;

use super::memcached::Memcached;

/// What a client is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// None: values stay in this process.
    pub(crate) servers: String,
    pub(crate) protocol: Protocol,
    pub(crate) namespace: &'static str,
    pub(crate) timeout: Duration,
    pub(crate) pool_size: usize,
}

impl Setup {
    pub(crate) fn embedded() -> Self {
        Setup {
            servers: String::new(),
            protocol: Protocol::Auto,
            namespace: "",
            timeout: Duration::from_secs(10),
            pool_size: 16,
        }
    }

    pub(crate) fn on(servers: &[Memcached]) -> Self {
        let servers = servers.iter().map(Memcached::address).collect::<Vec<_>>().join(",");
        Setup { servers, ..Setup::embedded() }
    }

    pub(crate) fn blocking(&self) -> Client {
        self.build(Client::builder())
    }

    pub(crate) fn on_tokio(&self) -> AsyncClient {
        self.build(AsyncClient::builder())
    }

    /// One client of either kind, each with what tells it from the other.
    pub(crate) fn both(&self) -> [AnyClient; 2] {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        [AnyClient::Blocking(self.blocking()), AnyClient::Async(self.on_tokio(), runtime)]
    }

    fn build<T: Build>(&self, mut builder: Builder<T>) -> T {
        if !self.servers.is_empty() {
            builder = builder.servers(&self.servers);
        }
        let builder = builder.protocol(self.protocol).namespace(self.namespace);
        builder.timeout(self.timeout).connect_timeout(self.timeout).pool_size(self.pool_size).build().expect("a client")
    }
}

/// A client of either kind.
#[derive(Debug)]
pub(crate) enum AnyClient {
    Blocking(Client),
    Async(AsyncClient, Runtime),
}

macro_rules! verbs {
    ($($verb:ident [$($generics:tt)*] ($($name:ident: $type:ty),*) -> $out:ty,)*) => {
        impl AnyClient {$(
            pub(crate) fn $verb<$($generics)*>(&self, $($name: $type),*) -> $out {
                match self {
                    AnyClient::Blocking(client) => client.$verb($($name),*),
                    AnyClient::Async(client, runtime) => runtime.block_on(client.$verb($($name),*)),
                }
            }
        )*}
    };
}

type Counters = BTreeMap<String, String>;

verbs! {
    get [T: FromItem] (key: &str) -> Result<Option<T>, Error>,
    gets [T: FromItem] (key: &str) -> Result<Option<Versioned<T>>, Error>,
    gat [T: FromItem] (key: &str, ttl: Ttl) -> Result<Option<T>, Error>,
    gats [T: FromItem] (key: &str, ttl: Ttl) -> Result<Option<Versioned<T>>, Error>,
    get_as [T, C: Codec<T>] (key: &str, codec: C) -> Result<Option<T>, Error>,
    get_many [T: FromItem] (keys: &[String]) -> Many<T>,
    get_all [T: FromItem] (keys: &[String]) -> Result<Vec<Option<T>>, Error>,
    gets_many [T: FromItem] (keys: &[String]) -> Many<Versioned<T>>,
    set_many [V: ToItem] (items: Vec<(String, V)>, ttl: Ttl) -> Failures,
    set_as [T, C: Codec<T>] (key: &str, codec: C, value: &T, ttl: Ttl) -> Result<(), Error>,
    delete [] (key: &str) -> Result<bool, Error>,
    delete_many [] (keys: &[String]) -> Failures,
    incr [] (key: &str, by: u64) -> Result<Option<u64>, Error>,
    decr [] (key: &str, by: u64) -> Result<Option<u64>, Error>,
    touch [] (key: &str, ttl: Ttl) -> Result<bool, Error>,
    stats [] () -> PerNode<Counters>,
    stats_of [] (group: &str) -> PerNode<Counters>,
    version [] () -> PerNode<String>,
    flush_all [] (delay: Duration) -> PerNode<()>,
    cache_memlimit [] (mebibytes: u64) -> PerNode<()>,
    set [V: ToItem + ?Sized] (key: &str, value: &V, ttl: Ttl) -> Result<(), Error>,
    add [V: ToItem + ?Sized] (key: &str, value: &V, ttl: Ttl) -> Result<bool, Error>,
    replace [V: ToItem + ?Sized] (key: &str, value: &V, ttl: Ttl) -> Result<bool, Error>,
    append [V: ToItem + ?Sized] (key: &str, value: &V) -> Result<bool, Error>,
    prepend [V: ToItem + ?Sized] (key: &str, value: &V) -> Result<bool, Error>,
    cas [V: ToItem + ?Sized] (key: &str, value: &V, cas: u64, ttl: Ttl) -> Result<CasOutcome, Error>,
}

impl AnyClient {
    pub(crate) fn quit(&self) {
        match self {
            AnyClient::Blocking(client) => client.quit(),
            AnyClient::Async(client, _) => client.quit(),
        }
    }

    pub(crate) fn close(&self) {
        match self {
            AnyClient::Blocking(client) => client.close(),
            AnyClient::Async(client, _) => client.close(),
        }
    }
}

pub(crate) const MINUTE: Ttl = Ttl::For(Duration::from_secs(60));

/// The answer of the one server.
pub(crate) fn only<T>(answers: PerNode<T>) -> Result<T, Error> {
    assert_eq!(answers.len(), 1);
    answers.into_iter().next().expect("a server").1
}

/// Names as `get_many` takes them.
pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}
