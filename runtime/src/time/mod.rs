//! The clock, the time budget of a call, timers, and the threads behind them.
//! Settings of durations are read elsewhere.

pub(crate) mod budget;
pub(crate) mod clock;
#[cfg(all(feature = "servers", feature = "tokio"))]
pub(crate) mod patience;
#[cfg(all(feature = "servers", feature = "testing", feature = "tokio", not(test)))]
mod paused;
#[cfg(all(feature = "servers", feature = "tokio"))]
pub(crate) mod reminder;
pub(crate) mod servant;
pub(crate) mod timer;
