//! The locks that [`lending`](super::lending) is built from; its exploration
//! puts others in their place.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard};

pub(super) use crate::sync::lock;
