//! Holds the checked settings, which come from the environment or from a builder
//! with the same names.

#[cfg(any(test, fuzzing))]
pub(crate) mod any_text;
pub(crate) mod builder;
pub(crate) mod choices;
pub(crate) mod enabled;
pub(crate) mod environment;
mod forms;
pub(crate) mod jitter;

use std::fmt;
use std::time::Duration;

#[cfg(feature = "servers")]
use crate::cluster::ClusterSettings;
use crate::codec::Standard;
use crate::config::choices::Shown;
use crate::config::enabled::Enabled;
use crate::config::jitter::Jitter;
#[cfg(feature = "servers")]
use crate::error::{Error, ErrorKind};
use crate::exchange::{ItemLimit, Ttl};
#[cfg(feature = "servers")]
use crate::net::endpoint::{Access, Credentials};
#[cfg(feature = "tls")]
use crate::net::tls::Tls;
#[cfg(feature = "servers")]
use crate::node::breaker::Pauses;
use crate::server::discovery::Discovery;
use crate::server::{Distribution, Failover, Protocol, Server};
use crate::value::signature::Secret;

pub(crate) use forms::{LARGEST_NEAR, SHORTEST_TO_COMPRESS, SMALLEST_NEAR};

/// Every setting, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) servers: Vec<Server>,
    pub(crate) distribution: Distribution,
    pub(crate) failover: Failover,
    /// Names the servers in place of a list.
    pub(crate) discovery: Option<Discovery>,
    /// The longest time before the first probe of a server that is out.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) namespace: String,
    /// Whether a client puts a generation before its keys.
    pub(crate) flushable: bool,
    pub(crate) ttl: Ttl,
    pub(crate) jitter: Jitter,
    /// The limit for all cache I/O of one call.
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    /// Connections per node.
    pub(crate) pool_size: usize,
    /// Background refreshes of the process at once.
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "the background is a runtime"))]
    pub(crate) refreshes: usize,
    /// Bytes kept in this process.
    pub(crate) near_size: u64,
    /// The size in bytes from which values are compressed; `None` for never.
    pub(crate) compress: Option<usize>,
    /// The largest item that the servers accept.
    pub(crate) item_limit: ItemLimit,
    /// The codec of functions that name none; `None` in a build without codecs.
    pub(crate) codec: Option<Standard>,
    pub(crate) protocol: Protocol,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Password>,
    /// PEM files: the authorities to trust in place of the system's, and the
    /// certificate to present with its key.
    pub(crate) tls_ca: Option<String>,
    pub(crate) tls_cert: Option<String>,
    pub(crate) tls_key: Option<String>,
    pub(crate) enabled: Enabled,
    pub(crate) record: Shown,
    /// The key that signs stored values.
    pub(crate) auth_key: Option<Secret>,
}

/// A password, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Password(String);

impl Password {
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            servers: Vec::new(),
            distribution: Distribution::default(),
            failover: Failover::default(),
            discovery: None,
            retry_after: None,
            namespace: String::new(),
            flushable: false,
            ttl: Ttl::For(Duration::from_secs(300)),
            jitter: Jitter::default(),
            timeout: Duration::from_millis(100),
            connect_timeout: Duration::from_millis(250),
            pool_size: 16,
            refreshes: 64,
            near_size: 64 << 20,
            compress: None,
            item_limit: ItemLimit::default(),
            codec: Standard::named("bincode"),
            protocol: Protocol::Auto,
            username: None,
            password: None,
            tls_ca: None,
            tls_cert: None,
            tls_key: None,
            enabled: Enabled::All,
            record: Shown::Nothing,
            auth_key: None,
        }
    }
}

impl Settings {
    /// Whether values stay in this process, as there is no server to keep them.
    pub(crate) fn is_embedded(&self) -> bool {
        self.servers.is_empty() && self.discovery.is_none()
    }

    /// Describes the cluster.
    ///
    /// # Errors
    ///
    /// If a server wants TLS and TLS cannot be set up.
    #[cfg(feature = "servers")]
    pub(crate) fn plan(&self) -> Result<ClusterSettings, Error> {
        let mut pauses = Pauses::default();
        if let Some(longest) = self.retry_after {
            pauses = Pauses { first: pauses.first.min(longest), longest };
        } else if self.failover == Failover::Next {
            // Until a process notices the server's return, it misses what others
            // write there.
            pauses.longest = Duration::from_secs(5);
        }
        Ok(ClusterSettings {
            servers: self.servers.clone(),
            distribution: self.distribution,
            failover: self.failover,
            namespace: self.namespace.clone(),
            pool_size: self.pool_size,
            pauses,
            access: self.access()?,
            discovery: self.discovery.clone(),
        })
    }

    #[cfg(feature = "servers")]
    fn access(&self) -> Result<Access, Error> {
        let credentials = match (&self.username, &self.password) {
            (None, None) => None,
            (Some(username), Some(password)) => Some(Credentials::new(username, password.text())),
            _ => return Err(incomplete("user and password (MEMCACHED_USERNAME, MEMCACHED_PASSWORD)")),
        };
        Ok(Access {
            protocol: self.protocol,
            credentials,
            item_limit: self.item_limit,
            #[cfg(feature = "tls")]
            tls: if self.wants_tls() { Some(self.tls()?) } else { None },
            #[cfg(feature = "tls")]
            certified_name: self.discovery.as_ref().and_then(Discovery::certified_name).map(str::to_owned),
        })
    }

    /// Whether any server is to be reached by TLS. An endpoint that is names
    /// servers that are.
    #[cfg(feature = "tls")]
    fn wants_tls(&self) -> bool {
        let endpoint = self.discovery.iter().map(|discovery| &discovery.endpoint);
        self.servers.iter().chain(endpoint).any(Server::wants_tls)
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> Result<Tls, Error> {
        let own = match (&self.tls_cert, &self.tls_key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.as_str(), key.as_str())),
            _ => return Err(incomplete("certificate and key (MEMCACHED_TLS_CERT, MEMCACHED_TLS_KEY)")),
        };
        Tls::new(self.tls_ca.as_deref(), own)
    }

    /// Sets the item limit. The embedded store is large enough for two such items.
    pub(crate) fn set_item_limit(&mut self, bytes: Option<u64>) -> Result<(), String> {
        let fits = bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let fits = fits.filter(|bytes| (ItemLimit::SMALLEST..=ItemLimit::LARGEST).contains(bytes));
        self.item_limit = ItemLimit(fits.ok_or("a number of bytes such as `4194304` or `4MiB`, from 1KiB to 1GiB")?);
        Ok(())
    }

    pub(crate) fn set_servers(&mut self, text: &str) -> Result<(), String> {
        self.servers = Server::list(text)?;
        self.discovery = None;
        Ok(())
    }

    /// Sets what names the servers.
    pub(crate) fn set_discovery(&mut self, text: &str) -> Result<(), String> {
        self.discovery = Some(Discovery::named(text)?);
        self.servers.clear();
        Ok(())
    }

    /// Sets how often that is asked.
    pub(crate) fn set_discovery_interval(&mut self, every: Duration) {
        self.discovery.iter_mut().for_each(|discovery| discovery.every = every);
    }

    pub(crate) fn set_username(&mut self, text: &str) -> Result<(), String> {
        // On the wire, a space ends the name.
        if text.is_empty() || text.len() > LONGEST_CREDENTIAL || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("a user name of up to 250 printable ASCII characters without spaces".into());
        }
        self.username = Some(text.to_owned());
        Ok(())
    }

    pub(crate) fn set_password(&mut self, text: &str) -> Result<(), String> {
        if text.is_empty() || text.len() > LONGEST_CREDENTIAL || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err("a password of up to 250 bytes without spaces and control characters".into());
        }
        self.password = Some(Password(text.to_owned()));
        Ok(())
    }

    pub(crate) fn set_namespace(&mut self, text: &str) -> Result<(), String> {
        if text.len() > 100 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("up to 100 printable ASCII characters without spaces".into());
        }
        text.clone_into(&mut self.namespace);
        Ok(())
    }
}

/// memcached's own limit for user and for password, in bytes.
const LONGEST_CREDENTIAL: usize = 250;

#[cfg(feature = "servers")]
fn incomplete(pair: &str) -> Error {
    Error::new(ErrorKind::Configuration, format!("{pair} go together: set both or neither"))
}
