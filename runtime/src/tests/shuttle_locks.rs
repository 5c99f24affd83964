//! As [`sync`](crate::sync), on locks that let a scheduler come up with every
//! order of events: what is built from the ones is explored on the others.

use std::sync::PoisonError;

pub(crate) use shuttle::sync::{Condvar, Mutex, MutexGuard};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
