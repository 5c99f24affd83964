//! How a server is reached, and what it wants to be told first.
//!
//! Opens nothing; `connection` and `async_connection` do.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use crate::error::{Error, ErrorKind};
use crate::exchange::ItemLimit;
#[cfg(unix)]
use crate::net::elsewhere::LeftBehind;
use crate::net::fault::Fault;
use crate::net::resolve::Addresses;
use crate::protocol::{Dialect, Lives, Session, Ticket};
use crate::server::{Location, Protocol, Security, Server};
use crate::sync::{read, write};

/// User and password of memcached's ASCII authentication.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    /// Creates the credentials of this user.
    pub(crate) fn new(username: &str, password: &str) -> Self {
        Credentials { username: username.to_owned(), password: password.to_owned() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// How all servers of a cluster are reached.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    pub(crate) protocol: Protocol,
    pub(crate) credentials: Option<Credentials>,
    /// The largest item that they accept.
    pub(crate) item_limit: ItemLimit,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::net::tls::Tls>,
    /// What their certificates are for, if that is not their own names.
    #[cfg(feature = "tls")]
    pub(crate) certified_name: Option<String>,
}

impl Access {
    /// Returns how to speak TLS with a host, and the name that its certificate is for.
    #[cfg(feature = "tls")]
    pub(super) fn tls_with<'a>(&'a self, host: &'a str) -> Result<(&'a crate::net::tls::Tls, &'a str), Fault> {
        let Some(tls) = &self.tls else { return Err(Fault::unreachable("TLS has not been set up")) };
        Ok((tls, self.certified_name.as_deref().unwrap_or(host)))
    }

    /// Accepts a server that can be reached so.
    ///
    /// # Errors
    ///
    /// If the server wants TLS and that has not been set up.
    pub(crate) fn check(&self, server: &Server) -> Result<(), Error> {
        let Location::Tcp { security: Security::Tls, .. } = server.address else { return Ok(()) };
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return Ok(());
        }
        let why = if cfg!(feature = "tls") {
            "TLS has not been set up when the cluster was"
        } else {
            "memocached was built without its feature `tls`"
        };
        Err(Error::new(ErrorKind::Configuration, format!("{server} cannot be reached by TLS: {why}")))
    }
}

/// What a server speaks, as [`Endpoint::dialect`] keeps it.
mod spoken {
    pub(super) const UNKNOWN: u8 = 0;
    pub(super) const META: u8 = 1;
    pub(super) const CLASSIC: u8 = 2;
    /// Unknown since a failure.
    pub(super) const META_BEFORE: u8 = 3;
}

/// A server, with all it takes to open a connection to it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) server: Server,
    pub(crate) access: Access,
    /// For servers that are reached over TCP.
    pub(crate) addresses: Option<Addresses>,
    /// For servers that are reached over a Unix socket: which file, by device and number.
    #[cfg(unix)]
    pub(crate) left_behind: LeftBehind<(u64, u64), std::os::unix::net::UnixStream>,
    /// The life that the server was last found in.
    pub(crate) lives: Lives,
    /// The address that the last connection was opened to.
    peer: RwLock<Option<Arc<str>>>,
    /// What the server speaks: one of [`spoken`].
    dialect: AtomicU8,
    /// Set once the log says that it speaks the classic protocol.
    told: OnceLock<()>,
}

impl Endpoint {
    /// Creates the way to a server that no connection has been opened to.
    pub(crate) fn new(server: Server, access: Access) -> Self {
        let addresses = match &server.address {
            Location::Tcp { host, port, .. } => Some(Addresses::of(host, *port)),
            Location::Unix(_) => None,
        };
        let dialect = match access.protocol {
            Protocol::Auto => spoken::UNKNOWN,
            Protocol::Meta => spoken::META,
            Protocol::Ascii => spoken::CLASSIC,
        };
        Endpoint {
            server,
            access,
            addresses,
            #[cfg(unix)]
            left_behind: LeftBehind::default(),
            lives: Lives::default(),
            peer: RwLock::default(),
            dialect: AtomicU8::new(dialect),
            told: OnceLock::new(),
        }
    }

    /// Returns the IP address that the last connection was opened to.
    pub(crate) fn peer(&self) -> Option<Arc<str>> {
        read(&self.peer).clone()
    }

    /// Notes where a connection has been opened to. False if it must not be used, as
    /// callers have agreed on another address than the `former` meanwhile.
    pub(crate) fn reached(&self, address: SocketAddr, former: Option<SocketAddr>) -> bool {
        if !self.addresses.as_ref().is_none_or(|addresses| addresses.agree(address, former)) {
            return false;
        }
        let address = address.ip().to_string();
        if read(&self.peer).as_deref() != Some(address.as_str()) {
            *write(&self.peer) = Some(address.into());
        }
        true
    }

    /// Whether a connection to this address is still one to this server: the
    /// server's name may have another address by now.
    pub(crate) fn is_at(&self, peer: Option<SocketAddr>) -> bool {
        match (&self.addresses, peer) {
            (Some(addresses), Some(peer)) => addresses.is_used(peer),
            _ => true,
        }
    }

    /// Returns what the server speaks, if that is known.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        match self.dialect.load(Ordering::Relaxed) {
            spoken::META => Some(Dialect::Meta),
            spoken::CLASSIC => Some(Dialect::Classic),
            _ => None,
        }
    }

    /// Writes what must come first on a connection. Each ticket stands for a
    /// reply to wait for.
    pub(crate) fn greet(&self, session: &mut Session) -> Result<Vec<Ticket>, Fault> {
        let credentials = self.access.credentials.as_ref();
        let credentials = credentials.map(|known| (known.username.as_str(), known.password.as_str()));
        session.greet(credentials, self.dialect().is_some()).map_err(|_| Fault::unreachable("it cannot be greeted"))
    }

    /// Notes what the server has been found to speak.
    pub(crate) fn speaks(&self, dialect: Dialect) {
        let number = match dialect {
            Dialect::Meta => spoken::META,
            Dialect::Classic => spoken::CLASSIC,
        };
        self.dialect.store(number, Ordering::Relaxed);
    }

    /// Forgets what the server speaks, so that the next connection finds it out:
    /// after a failure it may be another server.
    pub(crate) fn forget(&self) {
        if self.access.protocol == Protocol::Auto {
            let forgotten = match self.dialect.load(Ordering::Relaxed) {
                spoken::META | spoken::META_BEFORE => spoken::META_BEFORE,
                _ => spoken::UNKNOWN,
            };
            self.dialect.store(forgotten, Ordering::Relaxed);
        }
    }

    /// Whether a server that hangs up on the greeting may speak the classic protocol. One
    /// that has spoken the other is in trouble, and without leases a value could be stored
    /// that is older than a change.
    pub(crate) fn may_be_classic(&self) -> bool {
        self.dialect.load(Ordering::Relaxed) == spoken::UNKNOWN
    }

    /// Whether the server is known to speak the classic protocol, and this is
    /// the first time that the question is asked.
    pub(crate) fn is_news_that_it_is_classic(&self) -> bool {
        self.dialect() == Some(Dialect::Classic) && self.told.set(()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_has_spoken_meta_is_not_taken_for_a_classic_one_because_it_hangs_up() {
        let endpoint = Endpoint::new("127.0.0.1".parse().expect("a server"), Access::default());
        assert!(endpoint.may_be_classic());
        endpoint.speaks(Dialect::Meta);
        endpoint.forget();
        endpoint.forget();
        assert!(endpoint.dialect().is_none() && !endpoint.may_be_classic());
        endpoint.speaks(Dialect::Classic);
        endpoint.forget();
        assert!(endpoint.dialect().is_none() && endpoint.may_be_classic());
    }
}
