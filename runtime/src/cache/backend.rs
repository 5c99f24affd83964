//! A store with the settings that it is used under: what a cache and a client
//! share.

use std::sync::Arc;

use crate::cache::generation::Generation;
use crate::cache::near::Near;
use crate::config::Settings;
use crate::error::Error;
use crate::key::prefix;
use crate::random::Random;
use crate::singleflight::Flights;
use crate::singleflight::lease::Lease;
use crate::singleflight::liveness::Liveness;
use crate::store::Store;
use crate::store::embedded::Embedded;
use crate::time::budget::{Budget, Limits};
use crate::time::clock::Clock;

/// A clone is another handle of the same store.
#[derive(Clone)]
pub(crate) struct Backend(Arc<Inner>);

struct Inner {
    store: Arc<Store>,
    settings: Settings,
    /// The namespace as keys have it in front.
    prefix: String,
    generation: Option<Generation>,
    near: Near,
    flights: Flights<Lease>,
    liveness: Liveness,
    random: Random,
}

impl Backend {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        Self::at(settings, &Clock::system())
    }

    /// As [`Backend::new`], by this clock.
    pub(crate) fn at(settings: Settings, clock: &Clock) -> Result<Self, Error> {
        let store = Arc::new(store(&settings, clock)?);
        let prefix = prefix(&settings.namespace).concat();
        let generation = settings.flushable.then(|| Generation::new(&settings.namespace));
        let near = Near::new(settings.near_size, clock.clone());
        let (flights, liveness, random) = (Flights::new(), Liveness::new(clock.clone()), Random::new(clock.clone()));
        Ok(Backend(Arc::new(Inner { store, settings, prefix, generation, near, flights, liveness, random })))
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.0.store
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// What keys have in front, unless there is a generation.
    pub(crate) fn prefix(&self) -> &str {
        &self.0.prefix
    }

    /// Of the namespace, if it can be flushed.
    pub(crate) fn generation(&self) -> Option<&Generation> {
        self.0.generation.as_ref()
    }

    /// Values kept in this process in front of the store.
    pub(crate) fn near(&self) -> &Near {
        &self.0.near
    }

    /// What callers in this process are computing now.
    pub(crate) fn flights(&self) -> &Flights<Lease> {
        &self.0.flights
    }

    pub(crate) fn liveness(&self) -> &Liveness {
        &self.0.liveness
    }

    pub(crate) fn random(&self) -> &Random {
        &self.0.random
    }

    /// The time that one call may spend on I/O.
    pub(crate) fn limits(&self) -> Limits {
        Limits { total: self.0.settings.timeout, connect: self.0.settings.connect_timeout }
    }

    /// A budget for one call.
    pub(crate) fn budget(&self) -> Budget {
        self.limits().budget()
    }
}

fn store(settings: &Settings, clock: &Clock) -> Result<Store, Error> {
    if settings.servers.is_empty() {
        return Ok(Store::embedded(Embedded::new(settings.near_size, clock.clone())));
    }
    #[cfg(feature = "memcache")]
    return Ok(Store::Cluster(crate::cluster::Cluster::new(settings.plan()?)?));
    #[cfg(not(feature = "memcache"))]
    Err(Error::new(
        crate::error::ErrorKind::Configuration,
        "memocached was built without its feature `memcache`: it cannot reach servers",
    ))
}
