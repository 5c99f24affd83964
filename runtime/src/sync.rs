//! Locks that a panic elsewhere does not close.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use xxhash_rust::xxh3::xxh3_64;

/// Locks; every structure here is consistent between any two statements, so a
/// panic of another holder is no reason to give up.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], for one of many readers.
pub(crate) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// As [`lock`], for the only writer.
pub(crate) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// The one of several, each of which is for a part of all keys, that is for
/// this one.
pub(crate) fn share_of<'a, T>(several: &'a [T], key: &str) -> &'a T {
    // In range: what is left of a division is less than what was divided by.
    &several[(xxh3_64(key.as_bytes()) % several.len() as u64) as usize]
}
