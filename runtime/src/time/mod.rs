//! The clock, the time budget of a call, and timers. Settings of durations are
//! read elsewhere.

pub(crate) mod budget;
pub(crate) mod clock;
#[cfg(all(feature = "memcache", feature = "tokio"))]
pub(crate) mod patience;
#[cfg(feature = "tokio")]
pub(crate) mod timer;
