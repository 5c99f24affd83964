//! The handle of a cache, and how one is built.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::budget::Budget;
use crate::clock::Clock;
use crate::codec::Standard;
use crate::config::{Record, Settings};
use crate::embedded::Embedded;
use crate::error::{Error, ErrorKind};
use crate::exchange::Ttl;
use crate::ring::Distribution;
use crate::store::Store;
use crate::telemetry;

/// A cache that memoized functions keep their results in.
///
/// Most programs never name one: functions use the process-wide cache, which
/// the environment configures on first use. A clone is another handle of the
/// same cache.
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
pub struct Cache(Arc<Inner>);

struct Inner {
    store: Store,
    settings: Settings,
    codec: Standard,
}

impl Cache {
    /// A cache from the environment variables `MEMCACHED_*`.
    ///
    /// Nothing is connected to before the first use.
    ///
    /// # Errors
    ///
    /// If a variable has a value that cannot be used; the error names it.
    pub fn from_env() -> Result<Cache, Error> {
        let settings = Settings::from_env()?;
        if settings.servers.is_empty() {
            telemetry::announce_embedded();
        }
        Cache::new(settings)
    }

    /// Begins with the defaults that an empty environment means.
    pub fn builder() -> CacheBuilder {
        CacheBuilder { settings: Ok(Settings::default()) }
    }

    /// A cache in this process, private to its owner.
    ///
    /// # Panics
    ///
    /// If the crate was built without a codec (its feature `bincode`).
    #[must_use]
    pub fn embedded() -> Cache {
        Cache::new(Settings::default()).expect("the default settings can be used")
    }

    fn new(settings: Settings) -> Result<Cache, Error> {
        let codec = settings.codec.ok_or_else(|| {
            let message = "there is no codec: enable memocached's feature `bincode`, or choose another that is enabled";
            Error::new(ErrorKind::Configuration, message)
        })?;
        let store = store(&settings)?;
        Ok(Cache(Arc::new(Inner { store, settings, codec })))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn codec(&self) -> Standard {
        self.0.codec
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.0.settings.namespace
    }

    pub(crate) fn ttl(&self) -> Ttl {
        self.0.settings.ttl
    }

    pub(crate) fn budget(&self) -> Budget {
        Budget::new(self.0.settings.timeout, self.0.settings.connect_timeout)
    }

    pub(crate) fn caches(&self, site: &str) -> bool {
        self.0.settings.enabled.includes(site)
    }

    pub(crate) fn records_keys(&self) -> bool {
        self.0.settings.record == Record::Keys
    }
}

fn store(settings: &Settings) -> Result<Store, Error> {
    if settings.servers.is_empty() {
        return Ok(Store::embedded(Embedded::new(settings.near_size, Clock::system())));
    }
    #[cfg(feature = "memcache")]
    return Ok(Store::Cluster(crate::cluster::Cluster::new(
        &settings.servers,
        settings.distribution,
        &settings.namespace,
        settings.pool_size,
    )));
    #[cfg(not(feature = "memcache"))]
    Err(Error::new(
        ErrorKind::Configuration,
        "memocached was built without its feature `memcache`: it cannot reach servers",
    ))
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

/// Builds a [`Cache`] from settings of the same names as the environment's.
#[derive(Clone, Debug)]
#[must_use]
pub struct CacheBuilder {
    /// The first mistake, told by `build`.
    settings: Result<Settings, String>,
}

impl CacheBuilder {
    /// The servers, in the forms of `MEMCACHED_SERVERS`: `host`, `host:port`,
    /// `[v6]:port`, `tls://host:port` or `/path.sock`, separated by commas or
    /// spaces. Without any, values stay in this process.
    pub fn servers(self, servers: impl AsRef<str>) -> Self {
        let unusable = |accepted| format!("the servers cannot be used; accepted: {accepted}");
        self.with(|settings| settings.set_servers(servers.as_ref()).map_err(unusable))
    }

    /// How keys are spread over several servers; [`Distribution::Ketama`]
    /// unless told otherwise.
    pub fn distribution(self, distribution: Distribution) -> Self {
        self.with(|settings| {
            settings.distribution = distribution;
            Ok(())
        })
    }

    /// Stands in front of each key, with a colon; which server a key is on
    /// does not depend on it.
    pub fn namespace(self, namespace: impl AsRef<str>) -> Self {
        let unusable = |accepted| format!("the namespace cannot be used; accepted: {accepted}");
        self.with(|settings| settings.set_namespace(namespace.as_ref()).map_err(unusable))
    }

    /// How long values are kept where the attribute has no `ttl`.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.positive("ttl", ttl, |settings| settings.ttl = Ttl::For(ttl))
    }

    /// The limit for all cache I/O of one call.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.positive("timeout", timeout, |settings| settings.timeout = timeout)
    }

    /// The limit for connecting, which counts towards that of the call.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.positive("connect_timeout", timeout, |settings| settings.connect_timeout = timeout)
    }

    /// How many connections may be open to one server, from 1 to 65,535;
    /// blocking and async callers each have this many.
    pub fn pool_size(self, connections: usize) -> Self {
        self.with(|settings| {
            settings.pool_size = connections.clamp(1, 65_535);
            Ok(())
        })
    }

    /// How many bytes the embedded store may hold, at least 2 MiB.
    pub fn near_size(self, bytes: u64) -> Self {
        self.with(|settings| {
            settings.near_size = bytes;
            if bytes < 2 << 20 { Err("near_size must be at least 2 MiB".into()) } else { Ok(()) }
        })
    }

    /// The codec where the attribute names none: `bincode`, `postcard` or
    /// `json`, as far as the features are enabled.
    pub fn codec(self, name: impl AsRef<str>) -> Self {
        self.with(|settings| {
            let unknown = || format!("{:?} is no codec; accepted: {}", name.as_ref(), Standard::FORM);
            settings.codec = Some(Standard::named(name.as_ref()).ok_or_else(unknown)?);
            Ok(())
        })
    }

    /// Builds the cache; nothing is connected to yet.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used; the error says which and why.
    pub fn build(self) -> Result<Cache, Error> {
        Cache::new(self.settings.map_err(|message| Error::new(ErrorKind::Configuration, message))?)
    }

    fn positive(self, name: &str, duration: Duration, set: impl FnOnce(&mut Settings)) -> Self {
        self.with(|settings| {
            set(settings);
            if duration.is_zero() { Err(format!("{name} must be more than zero")) } else { Ok(()) }
        })
    }

    fn with(self, set: impl FnOnce(&mut Settings) -> Result<(), String>) -> Self {
        let set = |mut settings| set(&mut settings).map(|()| settings);
        CacheBuilder { settings: self.settings.and_then(set) }
    }
}
