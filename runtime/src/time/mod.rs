//! The time: what it is, how much of it a call may spend, and who is woken when.

pub(crate) mod budget;
pub(crate) mod clock;
#[cfg(feature = "tokio")]
pub(crate) mod timer;
