//! Looks in the background whether a node that is out is back.
//!
//! One thread for each node and outage, which ends with either; calls never
//! wait for it, and blocking and async callers share what it finds.

use std::sync::Weak;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Instant;

/// What can be out and probed.
pub(crate) trait Probed: Send + Sync + 'static {
    /// When to look next; `None` once it is back.
    fn probe_at(&self) -> Option<Instant>;

    /// Looks, within a short time limit of its own.
    fn probe(&self);
}

/// Keeps a prober going; dropped, it ends it.
pub(crate) type Leash = Sender<()>;

/// Probes until it is back or the leash is dropped. Without a thread to spare,
/// nothing happens, until somebody asks again.
pub(crate) fn start<P: Probed>(target: Weak<P>) -> Option<Leash> {
    let (leash, pulled) = channel();
    let thread = std::thread::Builder::new().name("memocached-probe".into());
    thread.spawn(move || run(&target, &pulled)).ok().map(|_| leash)
}

fn run<P: Probed>(target: &Weak<P>, pulled: &Receiver<()>) {
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
