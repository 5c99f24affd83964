//! Names to addresses, off the path of calls.
//!
//! The system's resolver has no time limit of its own, so names are looked up
//! on threads that may be left behind. Of several addresses, a process uses one
//! at a time: they may be servers of their own, each with its own values. It is
//! used until the name no longer has it, or until another answers in its stead.
//! A connection to any other is not used again; the pools see to that.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{fmt, io};

use crate::net::fault::{Fault, Trouble};
use crate::sync::lock;
#[cfg(feature = "tokio")]
use crate::time::patience::within;

/// Addresses older than this are looked up again at the next connection.
const FRESH: Duration = Duration::from_secs(30);
/// A lookup that has taken longer has lost its thread, as after a fork.
const LOST: Duration = Duration::from_secs(60);

/// The addresses of one host, which all clients that name it share.
#[derive(Clone, Debug)]
pub(crate) struct Addresses(Arc<Name>);

/// The names in use.
type Names = HashMap<(String, u16), Weak<Name>>;

static NAMES: LazyLock<Mutex<Names>> = LazyLock::new(Mutex::default);

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
    /// The one of them that connections are opened to.
    used: Option<SocketAddr>,
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
    /// Returns the addresses of this host, which may be an address itself.
    pub(crate) fn of(host: &str, port: u16) -> Self {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Addresses::new(None, vec![SocketAddr::new(address, port)]);
        }
        let mut names = lock(&NAMES);
        let name = (host.to_owned(), port);
        if let Some(known) = names.get(&name).and_then(Weak::upgrade) {
            return Addresses(known);
        }
        names.retain(|_, name| name.strong_count() > 0);
        let asked = name.clone();
        let look_up = move || (asked.0.as_str(), asked.1).to_socket_addrs().map(Iterator::collect);
        let addresses = Addresses::new(Some(Box::new(look_up)), Vec::new());
        names.insert(name, Arc::downgrade(&addresses.0));
        addresses
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

    /// Returns the addresses, the one in use first. Waits for them only if none has ever been
    /// found.
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
        let _ = within(patience, notified).await;
        lock(&self.0.state).answer().unwrap_or(Err(Unresolved::NotInTime))
    }

    /// Returns the address in use, once there is one.
    pub(crate) fn used(&self) -> Option<SocketAddr> {
        lock(&self.0.state).used
    }

    /// Uses this address from now on, to which a connection has been opened; false if
    /// another caller has put another in the place of the `former` meanwhile.
    pub(crate) fn agree(&self, address: SocketAddr, former: Option<SocketAddr>) -> bool {
        let mut state = lock(&self.0.state);
        if state.used == former {
            state.used = Some(address);
        }
        state.used == Some(address)
    }

    /// Casts doubt on the addresses: none worked, so they may have changed.
    pub(crate) fn doubt(&self) {
        lock(&self.0.state).since = None;
    }

    /// Whether this still is the address in use, as far as is known. Looks the name
    /// up again now and then.
    pub(crate) fn is_used(&self, address: SocketAddr) -> bool {
        if self.0.look_up.is_none() {
            return true;
        }
        let mut state = lock(&self.0.state);
        if state.tried.is_none_or(|tried| tried.elapsed() >= FRESH) {
            self.look(&mut state);
        }
        state.used == Some(address)
    }

    /// Returns what is known. Begins a lookup if that is nothing, or old.
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
    /// Asks the system, and tells the callers that wait.
    fn look_up(&self) {
        let found = self.look_up.as_ref().map_or_else(|| Ok(Vec::new()), |look_up| look_up());
        let mut state = lock(&self.state);
        state.looking = false;
        match found {
            Ok(addresses) => {
                state.used = state.used.filter(|used| addresses.contains(used));
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

    /// Returns the addresses, or why there are none. `None` while that is open.
    fn answer(&self) -> Option<Result<Vec<SocketAddr>, Unresolved>> {
        match (&self.known[..], &self.failure) {
            ([], None) => (!self.is_looked_for()).then(|| Err(Unresolved::Failed(io::ErrorKind::NotFound.into()))),
            ([], Some(failure)) => Some(Err(Unresolved::Failed(io::Error::other(failure.clone())))),
            (known, _) => {
                let others = known.iter().copied().filter(|address| Some(*address) != self.used);
                Some(Ok(self.used.into_iter().chain(others).collect()))
            }
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

        /// Looks the name up at once.
        pub(crate) fn look_up(&self) {
            self.0.look_up();
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
        assert!(addresses.agree(first, None) && addresses.is_used(first));
        let is_used_later = |address| {
            addresses.age();
            let _ = addresses.is_used(address);
            let state = lock(&addresses.0.state);
            drop(addresses.0.changed.wait_timeout_while(state, patience, |state| state.looking).unwrap());
            addresses.is_used(address)
        };
        assert!(!is_used_later(first), "it has moved");
        let second = addresses.get(patience).unwrap()[0];
        assert!(addresses.agree(second, addresses.used()));
        assert!(is_used_later(second), "what was known is better than nothing");
        assert!(is_used_later(second));
    }

    #[test]
    fn callers_agree_on_one_address_and_move_from_it_together() {
        let [first, second, third] = [1, 2, 3].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        // It is looked up in the meantime.
        let look_up = move || Ok(vec![first, second, third]);
        let addresses = Addresses::new(Some(Box::new(look_up)), vec![first, second, third]);
        assert!(addresses.agree(second, None));
        assert!(!addresses.agree(first, None), "a caller that began before another address was first has to follow");
        assert_eq!(addresses.get(Duration::ZERO).unwrap(), [second, first, third]);
        assert!(addresses.agree(third, Some(second)) && addresses.is_used(third) && !addresses.is_used(second));
        assert!(!addresses.agree(first, Some(second)) && addresses.agree(third, Some(second)));
    }

    #[test]
    fn all_who_name_a_server_use_the_same_address() {
        let [one, other, elsewhere] = [1, 1, 2].map(|port| Addresses::of("shared.example", port));
        assert!(Arc::ptr_eq(&one.0, &other.0) && !Arc::ptr_eq(&one.0, &elsewhere.0));
    }

    #[test]
    fn a_name_without_an_address_is_an_error() {
        let failed = Addresses::of("no-such-host.invalid", 1).get(Duration::from_secs(60));
        assert!(matches!(failed, Err(Unresolved::Failed(_))), "{failed:?}");
    }
}
