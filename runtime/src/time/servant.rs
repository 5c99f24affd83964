//! Threads that a process has one of. What they do is up to their owners.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Waker;

/// A thread that serves the whole process. A forked child has none of its parent's
/// threads, and starts its own.
#[derive(Debug)]
pub(crate) struct Servant {
    /// The process that has the thread.
    process: AtomicU32,
}

/// Whether a process has its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Begun,
    Ongoing,
    /// The system has no thread to spare.
    Denied,
}

impl Servant {
    /// Returns a thread that no process has started.
    pub(crate) const fn new() -> Self {
        Servant { process: AtomicU32::new(0) }
    }

    /// Starts the thread, unless this process has it.
    pub(crate) fn ensure(&self, name: &str, work: fn()) -> Service {
        let process = std::process::id();
        if self.process.swap(process, Ordering::Relaxed) == process {
            return Service::Ongoing;
        }
        match std::thread::Builder::new().name(name.into()).spawn(work) {
            Ok(_) => Service::Begun,
            Err(_) => {
                self.process.store(0, Ordering::Relaxed);
                Service::Denied
            }
        }
    }
}

/// Runs what may panic in other people's code; `None` if it did. The panic's own
/// message is all that is told of it.
pub(crate) fn survive<T>(work: impl FnOnce() -> T) -> Option<T> {
    // What a panic was raised with may panic when it is dropped.
    catch_unwind(AssertUnwindSafe(work)).map_err(std::mem::forget).ok()
}

/// Wakes tasks. A waker is other people's code: one that panics keeps no other from waking.
pub(crate) fn wake_all(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(|waker| _ = survive(|| waker.wake()));
}
