//! Looks in the background whether what is out is back.
//!
//! One thread for all targets of the process, which blocking and async callers
//! share; it has helpers only while several targets are probed. Calls never wait
//! for it. What a probe does is the target's.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

use crate::sync::lock;
use crate::time::servant::{Servant, survive};

/// What can be out and is probed then.
pub(crate) trait Probed: Send + Sync + 'static {
    /// Returns when to probe next; `None` once it is back.
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
    /// Creates a prober that is not probing yet.
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

/// So many targets are probed at once, each of which may be silent.
const AT_ONCE: usize = 16;

/// Probes the targets as their times come.
fn run() {
    let mut targets = lock(&TARGETS);
    loop {
        let now = Instant::now();
        let (mut due, mut next) = (Vec::new(), None::<Instant>);
        targets.retain(|target| {
            let Some(probed) = target.upgrade() else { return false };
            let Some(at) = probed.probe_at() else { return false };
            if at > now {
                next = Some(next.map_or(at, |next| next.min(at)));
            } else {
                due.push((at, probed));
            }
            true
        });
        targets = match (due.is_empty(), next) {
            (false, _) => {
                drop(targets);
                due.sort_unstable_by_key(|(at, _)| *at);
                due.truncate(AT_ONCE);
                probe(&due);
                drop(due);
                lock(&TARGETS)
            }
            (true, Some(next)) => {
                let waited = CHANGED.wait_timeout(targets, next.saturating_duration_since(now));
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            (true, None) => CHANGED.wait(targets).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Probes several targets at once, so that those that are silent keep no other
/// waiting.
fn probe(due: &[(Instant, Arc<dyn Probed>)]) {
    let Some(((_, last), others)) = due.split_last() else { return };
    std::thread::scope(|scope| {
        for (_, other) in others {
            let look = || survive(|| other.probe());
            let helper = std::thread::Builder::new().name("memocached-look".into());
            if helper.spawn_scoped(scope, look).is_err() {
                look();
            }
        }
        survive(|| last.probe());
    });
}
