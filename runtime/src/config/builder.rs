//! Settings from a program, by the names that the environment has for them.

use std::marker::PhantomData;
use std::time::Duration;

use crate::cache::Cache;
use crate::call::freshness::Jitter;
#[cfg(feature = "memcache")]
use crate::cluster::discovery::Discovery;
use crate::codec::Standard;
use crate::config::{LARGEST_NEAR, SHORTEST_TO_COMPRESS, SMALLEST_NEAR, Settings};
use crate::error::{Error, ErrorKind};
use crate::exchange::Ttl;
#[cfg(feature = "memcache")]
use crate::server::Server;
use crate::server::{Distribution, Failover, Protocol};

/// Builds a [`Cache`], a [`Client`](crate::Client) or an
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

/// What a [`Builder`] can build.
pub trait Build: Sized {
    #[doc(hidden)]
    fn from_settings(settings: Sealed) -> Result<Self, Error>;
}

/// Settings that nobody outside of the crate can make.
#[doc(hidden)]
#[derive(Debug)]
pub struct Sealed(pub(crate) Settings);

impl Build for Cache {
    fn from_settings(settings: Sealed) -> Result<Self, Error> {
        Cache::new(settings.0)
    }
}

impl<T: Build> Builder<T> {
    pub(crate) fn new() -> Self {
        Builder { settings: Ok(Settings::default()), target: PhantomData }
    }

    /// The servers, in the forms of `MEMCACHED_SERVERS`: `host`, `host:port`,
    /// `[v6]:port`, `tls://host:port` or `/path.sock`, separated by commas or
    /// spaces. Without any, values stay in this process.
    pub fn servers(self, servers: impl AsRef<str>) -> Self {
        let unusable = |accepted| format!("the servers cannot be used; accepted: {accepted}");
        self.with(|settings| settings.set_servers(servers.as_ref()).map_err(unusable))
    }

    /// Has the list of servers from the configuration endpoint of an Amazon
    /// ElastiCache cluster, `host:port`, which is asked at once and then every
    /// so often, in the background. Until the first answer, the endpoint itself
    /// is the only server.
    #[cfg(feature = "memcache")]
    pub fn discovery(self, endpoint: impl AsRef<str>, every: Duration) -> Self {
        self.positive("discovery", every, |_| {}).with(|settings| {
            let unusable = |why| format!("the configuration endpoint cannot be used: {why}");
            let endpoint: Server = endpoint.as_ref().parse().map_err(unusable)?;
            settings.servers = vec![endpoint.clone()];
            settings.discovery = Some(Discovery { endpoint, every });
            Ok(())
        })
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

    /// The namespace, which [`Client::flush_namespace`](crate::Client::flush_namespace)
    /// can flush. The keys of a client have a number between it and their name
    /// then, which is asked for once a second; memoized functions take no
    /// notice.
    pub fn flushable_namespace(self, namespace: impl AsRef<str>) -> Self {
        self.namespace(namespace).with(|settings| {
            settings.flushable = true;
            if settings.namespace.is_empty() { Err("a namespace to flush needs a name".into()) } else { Ok(()) }
        })
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
    /// blocking and async callers each have this many. Where async callers
    /// come in crowds, one of theirs is shared.
    pub fn pool_size(self, connections: usize) -> Self {
        self.with(|settings| {
            settings.pool_size = connections.clamp(1, 65_535);
            Ok(())
        })
    }

    /// How many bytes the embedded store may hold, from 2 MiB to 64 GiB.
    pub fn near_size(self, bytes: u64) -> Self {
        self.with(|settings| {
            settings.near_size = bytes;
            let fits = (SMALLEST_NEAR..=LARGEST_NEAR).contains(&bytes);
            if fits { Ok(()) } else { Err("near_size must be from 2 MiB to 64 GiB".into()) }
        })
    }

    /// What becomes of the keys of a server that is out; [`Failover::None`]
    /// unless told otherwise.
    pub fn failover(self, failover: Failover) -> Self {
        self.with(|settings| {
            settings.failover = failover;
            Ok(())
        })
    }

    /// The longest pause between two looks at a server that is out. The first
    /// is one second, and each is twice the one before; a minute unless told
    /// otherwise, and five seconds with [`Failover::Next`].
    pub fn retry_after(self, longest: Duration) -> Self {
        self.positive("retry_after", longest, |settings| settings.retry_after = Some(longest))
    }

    /// Compresses values of at least this many bytes (64 or more) with zlib,
    /// where that makes them fewer. Clients in other languages know such values
    /// by their flags.
    pub fn compress(self, threshold: usize) -> Self {
        self.with(|settings| {
            settings.compress = Some(threshold);
            let wrong = threshold < SHORTEST_TO_COMPRESS;
            if wrong { Err(format!("compress must be at least {SHORTEST_TO_COMPRESS} bytes")) } else { Ok(()) }
        })
    }

    /// The protocol to speak; [`Protocol::Auto`] unless told otherwise.
    pub fn protocol(self, protocol: Protocol) -> Self {
        self.with(|settings| {
            settings.protocol = protocol;
            Ok(())
        })
    }

    /// User and password for servers that want some (`memcached -Y file`).
    pub fn credentials(self, username: impl AsRef<str>, password: impl AsRef<str>) -> Self {
        self.with(|settings| {
            settings.set_username(username.as_ref())?;
            settings.set_password(password.as_ref())
        })
    }

    /// A file in PEM with the certificate authorities that servers behind
    /// `tls://` must have been certified by, in place of the system's.
    pub fn tls_ca(self, path: impl Into<String>) -> Self {
        self.with(|settings| {
            settings.tls_ca = Some(path.into());
            Ok(())
        })
    }

    /// Files in PEM with the certificate to show to servers behind `tls://`,
    /// and with its key.
    pub fn tls_certificate(self, certificate: impl Into<String>, key: impl Into<String>) -> Self {
        self.with(|settings| {
            settings.tls_cert = Some(certificate.into());
            settings.tls_key = Some(key.into());
            Ok(())
        })
    }

    /// Builds; nothing is connected to yet.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used; the error says which and why.
    pub fn build(self) -> Result<T, Error> {
        let settings = self.settings.map_err(|message| Error::new(ErrorKind::Configuration, message))?;
        T::from_settings(Sealed(settings))
    }

    fn positive(self, name: &str, duration: Duration, set: impl FnOnce(&mut Settings)) -> Self {
        self.with(|settings| {
            set(settings);
            if duration.is_zero() { Err(format!("{name} must be more than zero")) } else { Ok(()) }
        })
    }

    fn with(self, set: impl FnOnce(&mut Settings) -> Result<(), String>) -> Self {
        let set = |mut settings| set(&mut settings).map(|()| settings);
        Builder { settings: self.settings.and_then(set), target: PhantomData }
    }
}

impl Builder<Cache> {
    /// By how many percent of their ttl values end earlier at most, by chance,
    /// so that what was stored together does not end together: 10 unless told
    /// otherwise, at most 50; 0 has all end at their time. Whole seconds are
    /// kept, rounded up, so that short ttls stay as they are.
    pub fn jitter(self, percent: u8) -> Self {
        self.with(|settings| {
            settings.jitter = Jitter(percent);
            if percent > Jitter::MOST {
                Err(format!("jitter must be at most {} percent", Jitter::MOST))
            } else {
                Ok(())
            }
        })
    }

    /// How long values are kept where the attribute has no `ttl`.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.positive("ttl", ttl, |settings| settings.ttl = Ttl::For(ttl))
    }

    /// Signs what is stored with this secret, of at least 32 bytes, and takes
    /// nothing else for a value: who can write to the servers but does not know
    /// it can forge none. All who are to share values need the same.
    /// `codec = text`, whose bytes are for other programs, is not signed.
    #[cfg(feature = "authenticated")]
    pub fn auth_key(self, secret: impl AsRef<[u8]>) -> Self {
        self.with(|settings| {
            let secret = crate::value::signature::Secret::new(secret.as_ref());
            settings.auth_key = Some(secret.ok_or("auth_key must have at least 32 bytes")?);
            Ok(())
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
}
