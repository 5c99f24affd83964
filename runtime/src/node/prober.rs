//! Looks in the background whether something that is out is back.
//!
//! One thread for each target and outage, which ends with either. Calls never
//! wait for it, and blocking and async callers share what it finds. What a
//! probe does is the target's.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, Weak};
use std::time::Instant;

use crate::sync::lock;

/// What can be out and is probed then.
pub(crate) trait Probed: Send + Sync + 'static {
    /// When to probe next; `None` once it is back.
    fn probe_at(&self) -> Option<Instant>;

    /// Probes, within a short time limit of its own.
    fn probe(&self);
}

/// Probes one target whenever that is out.
pub(crate) struct Prober {
    target: Weak<dyn Probed>,
    /// Keeps the thread going; dropped, it ends it.
    leash: Mutex<Option<Sender<()>>>,
}

impl Prober {
    /// A prober that is not probing yet.
    pub(crate) fn of(target: Weak<dyn Probed>) -> Self {
        Prober { target, leash: Mutex::default() }
    }

    /// Probes until the target is back or the prober is dropped. Without a
    /// thread to spare nothing happens, until the next start.
    pub(crate) fn start(&self) {
        let (leash, pulled) = channel();
        let target = Weak::clone(&self.target);
        let thread = std::thread::Builder::new().name("memocached-probe".into());
        let started = thread.spawn(move || run(&target, &pulled));
        *lock(&self.leash) = started.ok().map(|_| leash);
    }
}

/// Probes until the target is back or gone, or the leash is dropped.
fn run(target: &Weak<dyn Probed>, pulled: &Receiver<()>) {
    loop {
        let Some(at) = target.upgrade().and_then(|target| target.probe_at()) else { return };
        let wait = at.saturating_duration_since(Instant::now());
        if pulled.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        let Some(target) = target.upgrade() else { return };
        target.probe();
    }
}
