//! The cache that memoized functions use: a backend with a codec for its values.
//!
//! It gives access to its parts. What a call does with them is decided in `call`.

pub(crate) mod backend;
mod builder;
pub(crate) mod generation;
pub(crate) mod global;
pub(crate) mod near;
#[cfg(feature = "testing")]
pub(crate) mod scope;

use std::fmt;
use std::sync::Arc;

use crate::cache::backend::Backend;
use crate::cache::near::Near;
use crate::codec::Standard;
use crate::config::Settings;
use crate::config::builder::sealed::{Checked, FromSettings};
use crate::config::builder::{Build, Builder};
use crate::config::choices::Shown;
use crate::config::environment::announce_strange;
use crate::config::jitter::Jitter;
use crate::error::{Error, ErrorKind};
use crate::exchange::{ItemLimit, Ttl};
use crate::random::Random;
use crate::singleflight::Flights;
use crate::singleflight::lease::Lease;
use crate::singleflight::liveness::Liveness;
use crate::store::Store;
#[cfg(feature = "testing")]
use crate::store::faults::Faults;
use crate::telemetry;
use crate::time::budget::{Budget, Limits};
use crate::time::clock::Clock;
use crate::value::record::Wrapping;

/// A cache that memoized functions keep their results in.
///
/// Most programs never name one: functions use the process-wide cache, which
/// the environment configures on first use. Clones are handles to the same
/// cache.
///
/// ```
/// use memocached::{Cache, memcached};
///
/// #[memcached(key = "double:<n>", ttl = 60, cache = cache, skip(cache))]
/// fn double(cache: &Cache, n: u64) -> u64 {
///     n * 2
/// }
///
/// let cache = Cache::embedded();
/// assert_eq!(double(&cache, 21), 42);
/// ```
#[derive(Clone)]
pub struct Cache {
    backend: Backend,
    codec: Standard,
}

impl Cache {
    /// Creates a cache from the environment variables `MEMCACHED_*`.
    ///
    /// It connects to no server before the first use.
    ///
    /// # Errors
    ///
    /// If a variable has a value that cannot be used. The error names the variable.
    pub fn from_env() -> Result<Cache, Error> {
        Self::announced(Self::unannounced())
    }

    /// Creates a cache from the environment without announcing anything.
    fn unannounced() -> Result<Cache, Error> {
        Cache::new(Settings::from_env()?)
    }

    /// Announces what there is to say about a cache from the environment.
    fn announced(cache: Result<Cache, Error>) -> Result<Cache, Error> {
        announce_strange();
        if cache.as_ref().is_ok_and(|cache| cache.backend.settings().is_embedded()) {
            telemetry::announce_embedded();
        }
        cache
    }

    /// Returns a builder that starts with the defaults of an empty environment.
    pub fn builder() -> Builder<Cache> {
        Builder::new()
    }

    /// Creates a cache inside this process, shared by nothing but its clones.
    ///
    /// # Panics
    ///
    /// If the crate was built without a codec (its feature `bincode`).
    #[must_use]
    pub fn embedded() -> Cache {
        Cache::new(Settings::default()).expect("the default settings can be used")
    }

    pub(crate) fn new(settings: Settings) -> Result<Cache, Error> {
        Self::at(settings, &Clock::system())
    }

    /// Creates a cache that tells the time by this clock.
    pub(crate) fn at(settings: Settings, clock: &Clock) -> Result<Cache, Error> {
        let codec = settings.codec.ok_or_else(|| {
            let message = "there is no codec: enable memocached's feature `bincode`, or choose another that is enabled";
            Error::new(ErrorKind::Configuration, message)
        })?;
        Ok(Cache { backend: Backend::at(settings, clock)?, codec })
    }

    /// Creates the cache of another process that uses the same store.
    #[cfg(test)]
    pub(crate) fn in_another_process(&self, clock: &Clock) -> Cache {
        Cache { backend: self.backend.in_another_process(clock), codec: self.codec }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.backend
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        self.backend.store()
    }

    pub(crate) fn near(&self) -> &Near {
        self.backend.near()
    }

    pub(crate) fn flights(&self) -> &Flights<Lease> {
        self.backend.flights()
    }

    pub(crate) fn liveness(&self) -> &Liveness {
        self.backend.liveness()
    }

    pub(crate) fn numbers(&self, key: &str) -> bool {
        self.backend.numbers(key)
    }

    pub(crate) fn has_no_numbers(&self, key: &str) {
        self.backend.has_no_numbers(key);
    }

    pub(crate) fn random(&self) -> &Random {
        self.backend.random()
    }

    pub(crate) fn codec(&self) -> &Standard {
        &self.codec
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.backend.settings().namespace
    }

    /// Returns by how much ttls are shortened: not at all for a test that moves the clock.
    pub(crate) fn jitter(&self) -> Jitter {
        if cfg!(not(test)) && self.backend.clock().is_stopped() { Jitter(0) } else { self.backend.settings().jitter }
    }

    pub(crate) fn ttl(&self) -> Ttl {
        self.backend.settings().ttl
    }

    pub(crate) fn item_limit(&self) -> ItemLimit {
        self.backend.settings().item_limit
    }

    pub(crate) fn limits(&self) -> Limits {
        self.backend.limits()
    }

    pub(crate) fn budget(&self) -> Budget {
        self.backend.budget()
    }

    /// Returns how many values may be refreshed in the background at once.
    #[cfg(feature = "tokio")]
    pub(crate) fn refreshes(&self) -> usize {
        self.backend.settings().refreshes
    }

    /// Returns whether the calls of this site use the cache.
    #[inline]
    pub(crate) fn caches(&self, site: &str) -> bool {
        self.backend.settings().enabled.includes(site)
    }

    pub(crate) fn wrapping(&self) -> Wrapping<'_> {
        let settings = self.backend.settings();
        Wrapping { compress: settings.compress, secret: settings.auth_key.as_ref() }
    }

    pub(crate) fn records_keys(&self) -> bool {
        self.backend.settings().record != Shown::Nothing
    }

    pub(crate) fn records_values(&self) -> bool {
        self.backend.settings().record == Shown::Values
    }
}

/// What tests do to an embedded cache.
#[cfg(feature = "testing")]
impl Cache {
    /// Takes the cache's clock in hand: from now on it stands still, and moves when it is
    /// [advanced](Clock::advance).
    ///
    /// It is the time of everything that this cache keeps: ttls, `grace`, what is kept near,
    /// errors and absences, holding off. Ttls have no jitter from now on, so that they end when
    /// they say. What waits for something that happens goes by the system's clock all the
    /// same: time-outs, leases on values that are being computed, what computing takes.
    ///
    /// # Panics
    ///
    /// If the cache uses servers, which have clocks of their own.
    #[must_use]
    pub fn clock(&self) -> Clock {
        assert!(self.store().faults().is_some(), "servers have clocks of their own: use `Cache::embedded()`");
        self.backend.clock().stop();
        self.backend.clock().clone()
    }

    /// Returns what makes the cache's store fail.
    ///
    /// # Panics
    ///
    /// If the cache uses servers.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.store().faults().expect("servers have faults of their own: use `Cache::embedded()`")
    }
}

impl Build for Cache {}

impl FromSettings for Cache {
    fn from_settings(Checked(settings): Checked) -> Result<Self, Error> {
        Cache::new(settings)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("settings", self.backend.settings()).finish_non_exhaustive()
    }
}
