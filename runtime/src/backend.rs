//! A store with the settings that it is used under: what a cache and a client
//! share.

use std::sync::Arc;

use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::Settings;
use crate::embedded::Embedded;
use crate::error::Error;
use crate::generation::Generation;
use crate::key::prefix;
use crate::store::Store;

/// A clone is another handle of the same store.
#[derive(Clone)]
pub(crate) struct Backend(Arc<Inner>);

struct Inner {
    store: Store,
    settings: Settings,
    /// The namespace as keys have it in front.
    prefix: String,
    generation: Option<Generation>,
}

impl Backend {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let store = store(&settings)?;
        let prefix = prefix(&settings.namespace).concat();
        let generation = settings.flushable.then(|| Generation::new(&settings.namespace));
        Ok(Backend(Arc::new(Inner { store, settings, prefix, generation })))
    }

    pub(crate) fn store(&self) -> &Store {
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

    /// The time one call may spend on I/O.
    pub(crate) fn budget(&self) -> Budget {
        Budget::new(self.0.settings.timeout, self.0.settings.connect_timeout)
    }
}

fn store(settings: &Settings) -> Result<Store, Error> {
    if settings.servers.is_empty() {
        return Ok(Store::embedded(Embedded::new(settings.near_size, Clock::system())));
    }
    #[cfg(feature = "memcache")]
    return Ok(Store::Cluster(crate::cluster::Cluster::new(settings.plan()?)?));
    #[cfg(not(feature = "memcache"))]
    Err(Error::new(
        crate::error::ErrorKind::Configuration,
        "memocached was built without its feature `memcache`: it cannot reach servers",
    ))
}
