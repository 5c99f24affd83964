//! What a cache and a client have in common: a store, its settings and the state
//! around it.
//!
//! It holds these parts together and decides nothing about a call.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use crate::cache::generation::Generation;
use crate::cache::near::Near;
use crate::config::Settings;
use crate::error::Error;
use crate::exchange::Request;
use crate::key::prefix;
use crate::random::Random;
use crate::singleflight::Flights;
use crate::singleflight::lease::Lease;
use crate::singleflight::liveness::Liveness;
use crate::store::Store;
use crate::store::embedded::Embedded;
use crate::sync::{read, write};
use crate::time::budget::{Budget, Limits};
use crate::time::clock::Clock;

/// A handle to a store and its settings. Clones share them.
#[derive(Clone)]
pub(crate) struct Backend(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    settings: Settings,
    /// The namespace as it stands in front of keys.
    prefix: String,
    generation: Option<Generation>,
    near: Near,
    flights: Flights<Lease>,
    liveness: Liveness,
    random: Random,
    clock: Clock,
    numberless: Numberless,
}

/// The nodes that were found to number no items (`memcached -C`), by their names.
#[derive(Default)]
struct Numberless {
    /// Whether there are any; reading this is cheaper than locking.
    are_some: AtomicBool,
    names: RwLock<HashSet<String>>,
}

impl Backend {
    /// Builds a backend without connecting to anything.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        Self::at(settings, &Clock::system())
    }

    /// Builds a backend that tells the time by this clock.
    pub(crate) fn at(settings: Settings, clock: &Clock) -> Result<Self, Error> {
        let store = Arc::new(store(&settings, clock)?);
        Ok(Self::of(store, settings, clock))
    }

    /// Builds a backend as another process has it that uses the same store.
    #[cfg(test)]
    pub(crate) fn in_another_process(&self, clock: &Clock) -> Self {
        Self::of(Arc::clone(self.store()), self.settings().clone(), clock)
    }

    fn of(store: Arc<Store>, settings: Settings, clock: &Clock) -> Self {
        let prefix = prefix(&settings.namespace).concat();
        let generation = settings.flushable.then(|| Generation::new(&settings.namespace));
        let near = Near::new(settings.near_size, settings.item_limit, clock.clone());
        let (flights, liveness, random) =
            (Flights::new(clock.clone()), Liveness::new(clock.clone()), Random::new(clock.clone()));
        Backend(Arc::new(Inner {
            store,
            settings,
            prefix,
            generation,
            near,
            flights,
            liveness,
            random,
            clock: clock.clone(),
            numberless: Numberless::default(),
        }))
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// Returns the prefix of keys in a namespace without a generation.
    pub(crate) fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Returns the namespace's generation, if the namespace can be flushed.
    pub(crate) fn generation(&self) -> Option<&Generation> {
        self.0.generation.as_ref()
    }

    /// Returns the near tier: values kept in this process, in front of the store.
    pub(crate) fn near(&self) -> &Near {
        &self.0.near
    }

    /// Returns the computations under way in this process.
    pub(crate) fn flights(&self) -> &Flights<Lease> {
        &self.0.flights
    }

    /// Forgets in this process what was found or computed under a key before now: it
    /// has been changed.
    pub(crate) fn forget(&self, key: &str) {
        self.near().forget(key);
        self.flights().detach(key);
    }

    /// Forgets all that was found or computed before now.
    pub(crate) fn forget_all(&self) {
        self.near().forget_all();
        self.flights().detach_all();
    }

    /// Forgets what was found or computed before a request that changes it.
    pub(crate) fn take_note(&self, request: &Request<'_>) {
        match *request {
            Request::Store { key, .. }
            | Request::Delete { key, .. }
            | Request::Invalidate { key, .. }
            | Request::Count { key, .. } => self.forget(key),
            Request::FlushAll { .. } => self.forget_all(),
            Request::Lookup { .. }
            | Request::Peek { .. }
            | Request::Get { .. }
            | Request::PeekMany { .. }
            | Request::GetAndTouch { .. }
            | Request::Renew { .. }
            | Request::Touch { .. }
            | Request::Stats { .. }
            | Request::Version
            | Request::Servers
            | Request::MemoryLimit { .. } => {}
        }
    }

    pub(crate) fn liveness(&self) -> &Liveness {
        &self.0.liveness
    }

    /// Whether the item under this key has a number, as far as is known.
    pub(crate) fn numbers(&self, key: &str) -> bool {
        let Numberless { are_some, names } = &self.0.numberless;
        if !are_some.load(Ordering::Relaxed) {
            return true;
        }
        self.0.store.node_name(key).is_none_or(|name| !read(names).contains(&name))
    }

    /// Remembers that the server of this key numbers no items.
    pub(crate) fn has_no_numbers(&self, key: &str) {
        let Numberless { are_some, names } = &self.0.numberless;
        write(names).extend(self.0.store.node_name(key));
        are_some.store(true, Ordering::Relaxed);
    }

    pub(crate) fn random(&self) -> &Random {
        &self.0.random
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Returns the limits of the time that one call may spend on I/O.
    pub(crate) fn limits(&self) -> Limits {
        Limits { total: self.0.settings.timeout, connect: self.0.settings.connect_timeout }
    }

    /// Returns a fresh budget for one call.
    pub(crate) fn budget(&self) -> Budget {
        self.limits().budget()
    }
}

fn store(settings: &Settings, clock: &Clock) -> Result<Store, Error> {
    if settings.is_embedded() {
        return Ok(Store::embedded(Embedded::new(settings.near_size, settings.item_limit, clock.clone())));
    }
    #[cfg(feature = "servers")]
    return Ok(Store::Cluster(crate::cluster::Cluster::new(settings.plan()?)?));
    #[cfg(not(feature = "servers"))]
    Err(Error::new(
        crate::error::ErrorKind::Configuration,
        "memocached was built without its feature `servers`: it cannot reach servers",
    ))
}
