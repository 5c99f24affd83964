//! How a server is to be reached, and what it wants to know first.
//!
//! Opens nothing; `connection` and `async_connection` do.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock, RwLock};

use crate::error::{Error, ErrorKind};
use crate::exchange::Verb;
use crate::net::resolve::Addresses;
use crate::protocol::{Dialect, Session, Ticket};
use crate::server::{Address, Protocol, Security, Server};
use crate::sync::{read, write};

/// User and password of memcached's ASCII authentication.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    username: String,
    password: String,
}

impl Credentials {
    pub(crate) fn new(username: &str, password: &str) -> Self {
        Credentials { username: username.to_owned(), password: password.to_owned() }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// What all servers of a cluster are reached with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    pub(crate) protocol: Protocol,
    pub(crate) credentials: Option<Credentials>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::net::tls::Tls>,
}

impl Access {
    /// Whether a server can be reached with this.
    ///
    /// # Errors
    ///
    /// If it wants TLS and that has not been set up.
    pub(crate) fn check(&self, server: &Server) -> Result<(), Error> {
        let Address::Tcp { security: Security::Tls, .. } = server.address else { return Ok(()) };
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

/// A server with all it takes to open a connection to it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) server: Server,
    pub(crate) access: Access,
    /// For servers that are reached over TCP.
    pub(crate) addresses: Option<Addresses>,
    /// The address that the last connection was opened to.
    peer: RwLock<Option<Arc<str>>>,
    /// What the server speaks, once known: 0 unknown, 1 meta, 2 classic.
    dialect: AtomicU8,
    told: OnceLock<()>,
}

impl Endpoint {
    pub(crate) fn new(server: Server, access: Access) -> Self {
        let addresses = match &server.address {
            Address::Tcp { host, port, .. } => Some(Addresses::of(host, *port)),
            Address::Unix(_) => None,
        };
        let dialect = match access.protocol {
            Protocol::Auto => 0,
            Protocol::Meta => 1,
            Protocol::Ascii => 2,
        };
        Endpoint {
            server,
            access,
            addresses,
            peer: RwLock::default(),
            dialect: AtomicU8::new(dialect),
            told: OnceLock::new(),
        }
    }

    /// The IP address that the last connection was opened to.
    pub(crate) fn peer(&self) -> Option<Arc<str>> {
        read(&self.peer).clone()
    }

    /// Takes note of where a connection has been opened to.
    pub(crate) fn reached(&self, address: SocketAddr) {
        let address = address.ip().to_string();
        if read(&self.peer).as_deref() != Some(address.as_str()) {
            *write(&self.peer) = Some(address.into());
        }
    }

    /// Whether a connection to there is still one to this server: its name may
    /// have another address by now.
    pub(crate) fn is_at(&self, peer: Option<SocketAddr>) -> bool {
        match (&self.addresses, peer) {
            (Some(addresses), Some(peer)) => addresses.include(peer),
            _ => true,
        }
    }

    /// What the server speaks, if that is known.
    pub(crate) fn dialect(&self) -> Option<Dialect> {
        match self.dialect.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Dialect::Meta),
            _ => Some(Dialect::Classic),
        }
    }

    /// Writes what must come first on a connection; each ticket is for a reply
    /// to be waited for.
    pub(crate) fn greet(&self, session: &mut Session) -> Result<Vec<Ticket>, Error> {
        let credentials = self.access.credentials.as_ref();
        let credentials = credentials.map(|known| (known.username.as_str(), known.password.as_str()));
        session.greet(credentials, self.dialect().is_some()).map_err(|_| self.refused("it cannot be greeted"))
    }

    /// Takes note of what the server has been found to speak.
    pub(crate) fn speaks(&self, dialect: Dialect) {
        let number = match dialect {
            Dialect::Meta => 1,
            Dialect::Classic => 2,
        };
        self.dialect.store(number, Ordering::Relaxed);
    }

    /// Has it be asked again at the next connection: after a failure it may be
    /// another server.
    pub(crate) fn forget(&self) {
        if self.access.protocol == Protocol::Auto {
            self.dialect.store(0, Ordering::Relaxed);
        }
    }

    /// Whether it is known to speak the classic protocol, for the first time
    /// that this is asked.
    pub(crate) fn is_news_that_it_is_classic(&self) -> bool {
        self.dialect() == Some(Dialect::Classic) && self.told.set(()).is_ok()
    }

    /// Says what failed where; never what a server said, which could be
    /// anything.
    pub(crate) fn failed(&self, verb: Verb, kind: ErrorKind) -> Error {
        let why = match kind {
            ErrorKind::Timeout => "gave no answer in time",
            ErrorKind::Io => "broke the connection",
            ErrorKind::Server => "reported an error of its own",
            ErrorKind::Rejected => "did not accept the command",
            ErrorKind::TooLarge => "does not take items of this size",
            ErrorKind::NotANumber => "holds something that is no decimal number of 64 bits",
            ErrorKind::Tls => "ended TLS, or wants another certificate",
            ErrorKind::Unauthenticated => "did not accept user and password, or wants some",
            _ => "answered with something else than this command's reply",
        };
        Error::new(kind, format!("{} {why} ({})", self.server, verb.as_str()))
    }

    /// No connection in time, or no address: it may be slow, or gone.
    pub(crate) fn silent(&self) -> Error {
        Error::new(ErrorKind::Timeout, format!("{} could not be connected to in time", self.server))
    }

    /// The call's own doing, not the server's.
    pub(crate) fn out_of_time(&self) -> Error {
        Error::new(ErrorKind::OutOfTime, format!("no time was left to ask {}", self.server))
    }

    pub(crate) fn refused(&self, why: &str) -> Error {
        Error::new(ErrorKind::Connect, format!("{} cannot be reached: {why}", self.server))
    }
}
