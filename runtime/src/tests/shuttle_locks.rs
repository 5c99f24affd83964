//! Replaces the locks of [`sync`](crate::sync) with ones that let a scheduler try
//! every order of events, so that what is built on locks can be explored.

use std::sync::PoisonError;

pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
