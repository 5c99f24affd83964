//! Looks in the background whether what is out is back.
//!
//! One thread for all targets of the process, which blocking and async callers
//! share. Calls never wait for it. What a probe does is the target's.

use std::sync::{Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

use crate::sync::lock;
use crate::time::servant::{Servant, survive};

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
}

/// The targets that are out.
static TARGETS: Mutex<Vec<Weak<dyn Probed>>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();
static THREAD: Servant = Servant::new();

impl Prober {
    /// A prober that is not probing yet.
    pub(crate) fn of(target: Weak<dyn Probed>) -> Self {
        Prober { target }
    }

    /// Probes until the target is back or gone. Without a thread to spare nothing
    /// happens, until the next start.
    pub(crate) fn start(&self) {
        let mut targets = lock(&TARGETS);
        if !targets.iter().any(|target| target.ptr_eq(&self.target)) {
            targets.push(Weak::clone(&self.target));
        }
        drop(targets);
        THREAD.ensure("memocached-probe", run);
        CHANGED.notify_one();
    }
}

/// Probes the targets as their times come.
fn run() {
    let mut targets = lock(&TARGETS);
    loop {
        let mut first: Option<(Instant, Weak<dyn Probed>)> = None;
        targets.retain(|target| {
            let Some(at) = target.upgrade().and_then(|target| target.probe_at()) else { return false };
            if first.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
                first = Some((at, Weak::clone(target)));
            }
            true
        });
        let wait = first.as_ref().map(|(at, _)| at.saturating_duration_since(Instant::now()));
        targets = match (first, wait) {
            (Some((_, target)), Some(wait)) if wait.is_zero() => {
                drop(targets);
                if let Some(target) = target.upgrade() {
                    survive(|| target.probe());
                }
                lock(&TARGETS)
            }
            (_, Some(wait)) => CHANGED.wait_timeout(targets, wait).unwrap_or_else(PoisonError::into_inner).0,
            (_, None) => CHANGED.wait(targets).unwrap_or_else(PoisonError::into_inner),
        };
    }
}
