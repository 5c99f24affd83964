//! Names to addresses, off the path of calls.
//!
//! The system's resolver has no time limit of its own, so names are looked up
//! on threads that may be left behind. What was found is used until something
//! newer is.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::sync::lock;

/// Addresses older than this are looked up again at the next connection.
const FRESH: Duration = Duration::from_secs(30);
/// Who has looked for longer is no more, as after a fork.
const LOST: Duration = Duration::from_secs(60);

/// The addresses of one host.
#[derive(Clone, Debug)]
pub(crate) struct Addresses(Arc<Name>);

#[derive(Debug)]
struct Name {
    host: String,
    port: u16,
    state: Mutex<State>,
    changed: Condvar,
    #[cfg(feature = "tokio")]
    notify: tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    known: Vec<SocketAddr>,
    /// When that was found out; none: never, or it is not to be relied on.
    since: Option<Instant>,
    /// Since when somebody looks.
    looking: Option<Instant>,
    failure: Option<String>,
}

/// Why there is no address.
#[derive(Debug)]
pub(crate) enum Unresolved {
    NotInTime,
    Failed(io::Error),
}

impl Addresses {
    pub(crate) fn of(host: &str, port: u16) -> Self {
        let literal: Option<IpAddr> = host.parse().ok();
        let known = literal.map(|address| SocketAddr::new(address, port)).into_iter().collect();
        let state = Mutex::new(State { known, ..State::default() });
        Addresses(Arc::new(Name {
            host: host.to_owned(),
            port,
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
        let waiting = |state: &mut State| state.is_looked_for();
        let state = lock(&self.0.state);
        let waited = self.0.changed.wait_timeout_while(state, patience, waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.answer().unwrap_or(Err(Unresolved::NotInTime))
    }

    #[cfg(feature = "tokio")]
    pub(crate) async fn get_async(&self, patience: Duration) -> Result<Vec<SocketAddr>, Unresolved> {
        let notified = self.0.notify.notified();
        if let Some(answer) = self.ask() {
            return answer;
        }
        let _ = tokio::time::timeout(patience, notified).await;
        lock(&self.0.state).answer().unwrap_or(Err(Unresolved::NotInTime))
    }

    /// The addresses did not work: they may have changed.
    pub(crate) fn doubt(&self) {
        lock(&self.0.state).since = None;
    }

    /// What is known; begins to look if that is nothing, or old.
    fn ask(&self) -> Option<Result<Vec<SocketAddr>, Unresolved>> {
        let mut state = lock(&self.0.state);
        let is_literal = self.0.host.parse::<IpAddr>().is_ok();
        let is_fresh = state.since.is_some_and(|since| since.elapsed() < FRESH);
        if !is_literal && !is_fresh && !state.is_looked_for() {
            state.looking = Some(Instant::now());
            state.failure = None;
            let name = Arc::clone(&self.0);
            let thread = std::thread::Builder::new().name("memocached-resolve".into());
            if let Err(error) = thread.spawn(move || name.look_up()) {
                state.looking = None;
                state.failure = Some(error.to_string());
            }
        }
        if state.known.is_empty() && state.is_looked_for() { None } else { state.answer() }
    }
}

impl Name {
    fn look_up(&self) {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let mut state = lock(&self.state);
        state.looking = None;
        match found {
            Ok(addresses) => {
                state.known = addresses.collect();
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

impl State {
    fn is_looked_for(&self) -> bool {
        self.looking.is_some_and(|since| since.elapsed() < LOST)
    }

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

    #[test]
    fn an_address_needs_no_lookup() {
        let known = Addresses::of("127.0.0.1", 1).get(Duration::ZERO).unwrap();
        assert_eq!(known, ["127.0.0.1:1".parse().unwrap()]);
        assert_eq!(Addresses::of("::1", 1).get(Duration::ZERO).unwrap().len(), 1);
    }

    #[test]
    fn a_name_is_looked_up_once_and_then_known() {
        let addresses = Addresses::of("localhost", 1);
        let found = addresses.get(Duration::from_secs(20)).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()), "{found:?}");
        addresses.doubt();
        assert_eq!(addresses.get(Duration::ZERO).unwrap(), found);
    }

    #[test]
    fn a_name_without_an_address_is_an_error() {
        let failed = Addresses::of("no-such-host.invalid", 1).get(Duration::from_secs(60));
        assert!(matches!(failed, Err(Unresolved::Failed(_))), "{failed:?}");
    }
}
