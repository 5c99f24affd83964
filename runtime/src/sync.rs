//! Locks that ignore poisoning. What they protect is up to their owners.

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

/// Selects the share that a key belongs to, where the keys are divided among
/// `several`.
pub(crate) fn share_of<'a, T>(several: &'a [T], key: &str) -> &'a T {
    // In range, since a remainder is less than its divisor.
    &several[(xxh3_64(key.as_bytes()) % several.len() as u64) as usize]
}
