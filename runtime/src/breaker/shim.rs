//! The lock that [`circuit`](super::circuit) is built from; its exploration puts
//! another in its place.

pub(super) use std::sync::Mutex;

pub(super) use crate::sync::lock;
