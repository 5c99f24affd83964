//! Names to addresses, off the path of calls.
//!
//! The system's resolver has no time limit of its own, so names are looked up
//! on threads that may be left behind. An address is used until a newer one is
//! found. A connection to an address that its name no longer has is not used
//! again; the pools see to that.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, io};

use crate::net::fault::{Fault, Trouble};
use crate::sync::lock;

/// Addresses older than this are looked up again at the next connection.
const FRESH: Duration = Duration::from_secs(30);
/// A lookup that has taken longer has lost its thread, as after a fork.
const LOST: Duration = Duration::from_secs(60);

/// The addresses of one host.
#[derive(Clone, Debug)]
pub(crate) struct Addresses(Arc<Name>);

/// A host, and what is known of it.
struct Name {
    /// Asks the system. `None` if the host is an address.
    look_up: Option<LookUp>,
    state: Mutex<Findings>,
    changed: Condvar,
    #[cfg(feature = "tokio")]
    notify: tokio::sync::Notify,
}

/// Finds the addresses of a name.
type LookUp = Box<dyn Fn() -> io::Result<Vec<SocketAddr>> + Send + Sync>;

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Name").field("state", &self.state).finish_non_exhaustive()
    }
}

/// What is known of a name.
#[derive(Debug, Default)]
struct Findings {
    known: Vec<SocketAddr>,
    /// When they were found. `None` if they never were, or are in doubt.
    since: Option<Instant>,
    /// When the last lookup began.
    tried: Option<Instant>,
    looking: bool,
    failure: Option<String>,
}

/// Why there is no address.
#[derive(Debug)]
pub(crate) enum Unresolved {
    NotInTime,
    Failed(io::Error),
}

impl From<Unresolved> for Fault {
    fn from(why: Unresolved) -> Self {
        match why {
            Unresolved::NotInTime => Trouble::Silent.into(),
            Unresolved::Failed(error) => Fault::unreachable("the name could not be resolved").because(error),
        }
    }
}

impl Addresses {
    /// The addresses of this host, which may be an address itself.
    pub(crate) fn of(host: &str, port: u16) -> Self {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Addresses::new(None, vec![SocketAddr::new(address, port)]);
        }
        let name = (host.to_owned(), port);
        let look_up = move || (name.0.as_str(), name.1).to_socket_addrs().map(Iterator::collect);
        Addresses::new(Some(Box::new(look_up)), Vec::new())
    }

    /// Addresses that are known, or that this finds.
    pub(crate) fn new(look_up: Option<LookUp>, known: Vec<SocketAddr>) -> Self {
        let state = Mutex::new(Findings { known, ..Findings::default() });
        Addresses(Arc::new(Name {
            look_up,
            state,
            changed: Condvar::new(),
            #[cfg(feature = "tokio")]
            notify: tokio::sync::Notify::new(),
        }))
    }

    /// The addresses, waiting for them only if none has ever been found.
    pub(crate) fn get(&self, patience: Duration) -> Result<Vec<SocketAddr>, Unresolved> {
        if let Some(answer) = self.ask() {
            return answer;
        }
        let waiting = |state: &mut Findings| state.is_looked_for();
        let state = lock(&self.0.state);
        let waited = self.0.changed.wait_timeout_while(state, patience, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.answer().unwrap_or(Err(Unresolved::NotInTime))
    }

    /// Does the same for an async caller.
    #[cfg(feature = "tokio")]
    pub(crate) async fn get_async(&self, patience: Duration) -> Result<Vec<SocketAddr>, Unresolved> {
        let notified = self.0.notify.notified();
        if let Some(answer) = self.ask() {
            return answer;
        }
        let _ = tokio::time::timeout(patience, notified).await;
        lock(&self.0.state).answer().unwrap_or(Err(Unresolved::NotInTime))
    }

    /// Casts doubt on the addresses: none worked, so they may have changed.
    pub(crate) fn doubt(&self) {
        lock(&self.0.state).since = None;
    }

    /// Whether this is still one of the addresses, as far as is known. Looks
    /// them up again now and then.
    pub(crate) fn include(&self, address: SocketAddr) -> bool {
        if self.0.look_up.is_none() {
            return true;
        }
        let mut state = lock(&self.0.state);
        if state.tried.is_none_or(|tried| tried.elapsed() >= FRESH) {
            self.look(&mut state);
        }
        state.known.is_empty() || state.known.contains(&address)
    }

    /// What is known. Begins a lookup if that is nothing, or old.
    fn ask(&self) -> Option<Result<Vec<SocketAddr>, Unresolved>> {
        let mut state = lock(&self.0.state);
        let is_fresh = state.since.is_some_and(|since| since.elapsed() < FRESH);
        if self.0.look_up.is_some() && !is_fresh {
            self.look(&mut state);
        }
        if state.known.is_empty() && state.is_looked_for() { None } else { state.answer() }
    }

    /// Begins a lookup, unless one is under way.
    fn look(&self, state: &mut Findings) {
        if state.is_looked_for() {
            return;
        }
        state.looking = true;
        state.failure = None;
        state.tried = Some(Instant::now());
        let name = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("memocached-resolve".into());
        if let Err(error) = thread.spawn(move || name.look_up()) {
            state.looking = false;
            state.failure = Some(error.to_string());
        }
    }
}

impl Name {
    /// Asks the system, and tells the callers who wait.
    fn look_up(&self) {
        let found = self.look_up.as_ref().map_or_else(|| Ok(Vec::new()), |look_up| look_up());
        let mut state = lock(&self.state);
        state.looking = false;
        match found {
            Ok(addresses) => {
                state.known = addresses;
                state.since = Some(Instant::now());
            }
            // What was known before is better than nothing.
            Err(error) => state.failure = Some(error.to_string()),
        }
        self.changed.notify_all();
        #[cfg(feature = "tokio")]
        self.notify.notify_waiters();
    }
}

impl Findings {
    /// Whether a lookup is under way.
    fn is_looked_for(&self) -> bool {
        self.looking && self.tried.is_none_or(|tried| tried.elapsed() < LOST)
    }

    /// The addresses, or why there are none. `None` while that is open.
    fn answer(&self) -> Option<Result<Vec<SocketAddr>, Unresolved>> {
        match (&self.known[..], &self.failure) {
            ([], None) => (!self.is_looked_for()).then(|| Err(Unresolved::Failed(io::ErrorKind::NotFound.into()))),
            ([], Some(failure)) => Some(Err(Unresolved::Failed(io::Error::other(failure.clone())))),
            (known, _) => Some(Ok(known.to_vec())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Addresses {
        /// Makes what is known so old that it is found out again.
        pub(crate) fn age(&self) {
            lock(&self.0.state).tried = None;
        }
    }

    #[test]
    fn an_address_needs_no_lookup() {
        let known = Addresses::of("127.0.0.1", 1).get(Duration::ZERO).unwrap();
        assert_eq!(known, ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!(Addresses::of("::1", 1).get(Duration::ZERO).unwrap().len(), 1);
    }

    #[test]
    fn a_name_that_was_looked_up_is_known_without_waiting() {
        let addresses = Addresses::of("localhost", 1);
        let found = addresses.get(Duration::from_secs(20)).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        addresses.doubt();
        assert_eq!(addresses.get(Duration::ZERO).unwrap(), found);
    }

    #[test]
    fn an_address_that_a_name_no_longer_has_is_none_of_its_addresses() {
        let answers = Mutex::new(vec![Err(io::ErrorKind::TimedOut.into()), Ok(2), Ok(1)]);
        let look_up = move || {
            let last = |answers: &mut Vec<io::Result<u16>>| answers.pop().unwrap_or(Ok(2));
            last(&mut lock(&answers)).map(|port| vec![SocketAddr::from(([127, 0, 0, 1], port))])
        };
        let addresses = Addresses::new(Some(Box::new(look_up)), Vec::new());
        let patience = Duration::from_secs(60);
        let first = addresses.get(patience).unwrap()[0];
        assert!(addresses.include(first));
        let include_later = |address| {
            addresses.age();
            let _ = addresses.include(address);
            let state = lock(&addresses.0.state);
            drop(addresses.0.changed.wait_timeout_while(state, patience, |state| state.looking).unwrap());
            addresses.include(address)
        };
        assert!(!include_later(first), "it has moved");
        let second = addresses.get(patience).unwrap()[0];
        assert!(include_later(second), "what was known is better than nothing");
        assert!(include_later(second));
    }

    #[test]
    fn a_name_without_an_address_is_an_error() {
        let failed = Addresses::of("no-such-host.invalid", 1).get(Duration::from_secs(60));
        assert!(matches!(failed, Err(Unresolved::Failed(_))), "{failed:?}");
    }
}
