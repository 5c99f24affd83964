//! The locks that [`board`](super::board) is built from; its exploration puts
//! others in their place.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard};
