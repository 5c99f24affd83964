//! Locks that ignore poisoning, and threads that a process has one of. What they
//! protect and what they do is up to their owners.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use xxhash_rust::xxh3::xxh3_64;

/// Locks a mutex, ignoring poisoning: every structure of this crate is consistent
/// between any two statements, so another holder's panic does no harm.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading, ignoring poisoning like [`lock`].
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing, ignoring poisoning like [`lock`].
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

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

/// Runs what may panic in other people's code. The panic's own message is all that
/// is told of it.
pub(crate) fn survive(work: impl FnOnce()) {
    drop(catch_unwind(AssertUnwindSafe(work)));
}

/// Selects the share that a key belongs to, where the keys are divided among
/// `several`.
pub(crate) fn share_of<'a, T>(several: &'a [T], key: &str) -> &'a T {
    // In range, since a remainder is less than its divisor.
    &several[(xxh3_64(key.as_bytes()) % several.len() as u64) as usize]
}
