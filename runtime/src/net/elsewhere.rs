//! Attempts to connect on threads of their own, which may be left behind.
//!
//! How to connect is up to `socket`.

#![cfg_attr(not(unix), allow(dead_code, reason = "only a Unix socket is waited for without a limit"))]

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use crate::net::fault::{Fault, Trouble};
use crate::sync::{Mutex, lock};

/// Connects on a thread that may be left behind.
pub(crate) fn elsewhere(connect: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
    let thread = std::thread::Builder::new().name("memocached-connect".into());
    thread.spawn(connect).map(drop).map_err(|error| Fault::from(Trouble::NoThread).because(error))
}

/// An attempt to connect, and to what.
type Connecting<P, S> = (P, Receiver<io::Result<S>>);

/// The attempts to connect to one server that have been left behind.
#[derive(Debug)]
pub(crate) struct LeftBehind<P, S>(Mutex<Vec<Connecting<P, S>>>);

impl<P, S> Default for LeftBehind<P, S> {
    fn default() -> Self {
        LeftBehind(Mutex::default())
    }
}

impl<P: PartialEq, S: Send + 'static> LeftBehind<P, S> {
    /// Connects within this time, where the system would wait without a limit; `late` is the
    /// fault if that is not enough. An attempt that still waits for the same place is taken
    /// over: no other would fare better.
    pub(crate) fn connect(
        &self,
        place: P,
        left: Duration,
        late: Trouble,
        connect: impl FnOnce() -> io::Result<S> + Send + 'static,
    ) -> Result<S, Fault> {
        let attempt = match self.take(&place) {
            Some(attempt) => attempt,
            None => {
                let (sender, opened) = channel();
                elsewhere(move || drop(sender.send(connect())))?;
                opened
            }
        };
        match attempt.recv_timeout(left) {
            Ok(opened) => opened.map_err(Fault::unconnected),
            Err(_) => {
                lock(&self.0).push((place, attempt));
                Err(late.into())
            }
        }
    }

    /// Takes an attempt that still waits. Those that have ended are of no use: what they
    /// have found may be no longer so.
    fn take(&self, place: &P) -> Option<Receiver<io::Result<S>>> {
        let mut attempts = lock(&self.0);
        attempts.retain(|(_, attempt)| matches!(attempt.try_recv(), Err(TryRecvError::Empty)));
        let found = attempts.iter().position(|(other, _)| other == place)?;
        Some(attempts.swap_remove(found).1)
    }
}
