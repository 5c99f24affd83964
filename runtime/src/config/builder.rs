//! Settings from a program, under the names that they have in the environment.

use std::marker::PhantomData;
use std::time::Duration;

use crate::config::{LARGEST_NEAR, SHORTEST_TO_COMPRESS, SMALLEST_NEAR, Settings};
use crate::error::{Error, ErrorKind};
use crate::server::{Distribution, Failover, Protocol};

/// Builds a [`Cache`](crate::Cache), a [`Client`](crate::Client) or an
/// [`AsyncClient`](crate::AsyncClient); begins with the defaults that an empty
/// environment means.
///
/// ```
/// use std::time::Duration;
///
/// use memocached::Cache;
///
/// # fn main() -> Result<(), memocached::Error> {
/// let cache = Cache::builder()
///     .servers("10.0.0.1, 10.0.0.2")
///     .namespace("shop")
///     .timeout(Duration::from_millis(50))
///     .build()?;
/// memocached::install(cache);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder<T> {
    /// The first mistake, told by `build`.
    settings: Result<Settings, String>,
    target: PhantomData<T>,
}

/// What a [`Builder`] can build: a cache or a client, and nothing else.
pub trait Build: sealed::FromSettings {}

/// Keeps [`Build`] to this crate.
pub(crate) mod sealed {
    use crate::config::Settings;
    use crate::error::Error;

    /// Settings, which other crates cannot make.
    #[derive(Debug)]
    pub struct Checked(pub(crate) Settings);

    pub trait FromSettings: Sized {
        fn from_settings(settings: Checked) -> Result<Self, Error>;
    }
}

impl<T: Build> Builder<T> {
    pub(crate) fn new() -> Self {
        Builder { settings: Ok(Settings::default()), target: PhantomData }
    }

    /// Sets the servers, in the forms of `MEMCACHED_SERVERS`: `host`, `host:port`,
    /// `[v6]:port`, `tls://host:port` or `/path.sock`, separated by commas or
    /// spaces. Without any, values stay in this process.
    pub fn servers(self, servers: impl AsRef<str>) -> Self {
        let unusable = |accepted| format!("the servers cannot be used; accepted: {accepted}");
        self.with(|settings| settings.set_servers(servers.as_ref()).map_err(unusable))
    }

    /// Asks for the list of servers every so often, in place of [`Builder::servers`], in
    /// the forms of `MEMCACHED_DISCOVERY`:
    ///
    /// - `elasticache://host:port`, or just `host:port`: the configuration endpoint of an
    ///   Amazon ElastiCache cluster names them.
    /// - `gcp://host:port`: the discovery endpoint of a Google Cloud Memorystore instance
    ///   does.
    /// - `dns://name:port`: there is one at each address of the name, as Kubernetes'
    ///   headless services have it.
    ///
    /// With `elasticache+tls://`, `gcp+tls://` and `dns+tls://` all are reached by TLS. The
    /// first question is asked at once, in the background. Until it is answered, there is
    /// no server: nothing is cached.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use memocached::Cache;
    ///
    /// # fn main() -> Result<(), memocached::Error> {
    /// let discovery = "dns://cache.shop.svc.cluster.local:11211";
    /// let cache = Cache::builder().discovery(discovery, Duration::from_secs(10)).build()?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "servers")]
    pub fn discovery(self, source: impl AsRef<str>, every: Duration) -> Self {
        self.positive("discovery", every, |_| {}).with(|settings| {
            let unusable = |accepted| format!("the discovery of servers cannot be used; accepted: {accepted}");
            settings.set_discovery(source.as_ref()).map_err(unusable)?;
            settings.set_discovery_interval(every);
            Ok(())
        })
    }

    /// Sets how keys are spread over several servers. The default is
    /// [`Distribution::Ketama`].
    pub fn distribution(self, distribution: Distribution) -> Self {
        self.with(|settings| {
            settings.distribution = distribution;
            Ok(())
        })
    }

    /// Sets the namespace, which stands in front of each key, with a colon. Which
    /// server a key is on does not depend on it.
    pub fn namespace(self, namespace: impl AsRef<str>) -> Self {
        let unusable = |accepted| format!("the namespace cannot be used; accepted: {accepted}");
        self.with(|settings| settings.set_namespace(namespace.as_ref()).map_err(unusable))
    }

    /// Sets a namespace that [`Client::flush_namespace`](crate::Client::flush_namespace)
    /// can flush. Between the namespace and its name, each key of a client then has a
    /// number, which is asked for once a second. Memoized functions do not use it.
    pub fn flushable_namespace(self, namespace: impl AsRef<str>) -> Self {
        self.namespace(namespace).with(|settings| {
            settings.flushable = true;
            if settings.namespace.is_empty() { Err("a namespace to flush needs a name".into()) } else { Ok(()) }
        })
    }

    /// Limits all cache I/O of one call. The default is 100 ms.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.positive("timeout", timeout, |settings| settings.timeout = timeout)
    }

    /// Limits connecting, which counts towards the limit of the call.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        self.positive("connect_timeout", timeout, |settings| settings.connect_timeout = timeout)
    }

    /// Sets how many connections may be open to one server, from 1 to 65,535.
    /// Blocking and async callers each have this many. Where many async callers
    /// come at once, they share one of theirs.
    pub fn pool_size(self, connections: usize) -> Self {
        self.with(|settings| {
            settings.pool_size = connections.clamp(1, 65_535);
            Ok(())
        })
    }

    /// Sets how many values may be refreshed in the background at once, from 1 to
    /// 65,535. Those of all functions and caches of the process count. Calls that find
    /// more stale values serve them as they are.
    pub fn refreshes(self, most: usize) -> Self {
        self.with(|settings| {
            settings.refreshes = most.clamp(1, 65_535);
            Ok(())
        })
    }

    /// Sets how many bytes this process may keep, from 2 MiB to 64 GiB: the values of
    /// `near`, and as many again in the embedded store if there are no servers.
    pub fn near_size(self, bytes: u64) -> Self {
        self.with(|settings| {
            settings.near_size = bytes;
            let fits = (SMALLEST_NEAR..=LARGEST_NEAR).contains(&bytes);
            if fits { Ok(()) } else { Err("near_size must be from 2 MiB to 64 GiB".into()) }
        })
    }

    /// Sets what becomes of the keys of a server that is out. The default is
    /// [`Failover::None`].
    pub fn failover(self, failover: Failover) -> Self {
        self.with(|settings| {
            settings.failover = failover;
            Ok(())
        })
    }

    /// Sets the longest time for which a server that is out is left alone before it is
    /// looked at. That is one second while it does not answer. Where it answers then
    /// and fails its callers again, each time is twice the one before. The default is a
    /// minute, or five seconds with [`Failover::Next`].
    pub fn retry_after(self, longest: Duration) -> Self {
        self.positive("retry_after", longest, |settings| settings.retry_after = Some(longest))
    }

    /// Compresses values of at least this many bytes (64 or more) with zlib, if
    /// that makes them smaller. Clients in other languages recognise such values by
    /// their flags.
    pub fn compress(self, threshold: usize) -> Self {
        self.with(|settings| {
            settings.compress = Some(threshold);
            let wrong = threshold < SHORTEST_TO_COMPRESS;
            if wrong { Err(format!("compress must be at least {SHORTEST_TO_COMPRESS} bytes")) } else { Ok(()) }
        })
    }

    /// Sets the size of the largest item that the servers accept, in bytes, from 1 KiB
    /// to 1 GiB: what they were started with (`memcached -I`). The default is 1 MiB.
    /// Larger items are not sent.
    pub fn item_limit(self, bytes: u64) -> Self {
        self.with(|settings| {
            settings.set_item_limit(Some(bytes)).map_err(|_| "item_limit must be from 1 KiB to 1 GiB".to_owned())
        })
    }

    /// Sets the protocol to speak. The default is [`Protocol::Auto`].
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.with(|settings| {
            settings.protocol = protocol;
            Ok(())
        })
    }

    /// Sets the user and password for servers that ask for them (`memcached -Y file`).
    pub fn credentials(self, username: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        self.with(|settings| {
            settings.set_username(username.as_ref())?;
            settings.set_password(password.as_ref())
        })
    }

    /// Sets a PEM file with the certificate authorities that certify the servers
    /// behind `tls://`, in place of the system's.
    pub fn tls_ca(self, path: impl Into<String>) -> Self {
        self.with(|settings| {
            settings.tls_ca = Some(path.into());
            Ok(())
        })
    }

    /// Sets two PEM files: the certificate to show to servers behind `tls://`, and
    /// its key.
    pub fn tls_certificate(self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.with(|settings| {
            settings.tls_cert = Some(certificate.into());
            settings.tls_key = Some(key.into());
            Ok(())
        })
    }

    /// Builds the cache or the client. It connects to no server yet.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used; the error says which and why.
    pub fn build(self) -> Result<T, Error> {
        let settings = self.settings.map_err(|message| Error::new(ErrorKind::Configuration, message))?;
        T::from_settings(sealed::Checked(settings))
    }

    /// Sets a duration, and refuses zero.
    pub(crate) fn positive(self, name: &str, duration: Duration, set: impl FnOnce(&mut Settings)) -> Self {
        self.with(|settings| {
            set(settings);
            if duration.is_zero() { Err(format!("{name} must be more than zero")) } else { Ok(()) }
        })
    }

    /// Sets something unless there has been a mistake.
    pub(crate) fn with(self, set: impl FnOnce(&mut Settings) -> Result<(), String>) -> Self {
        let set = |mut settings| set(&mut settings).map(|()| settings);
        Builder { settings: self.settings.and_then(set), target: PhantomData }
    }
}
