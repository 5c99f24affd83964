//! The durations that expressions in the attribute's arguments give.
//!
//! What they mean is left to `freshness`.

use std::time::Duration;

/// A length of time, or a number of seconds.
///
/// Of the integers only `u64` counts, so that the compiler knows the type of `60 * 60`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no duration",
    label = "neither a `Duration` nor a `u64`",
    note = "write a `Duration`, such as `Duration::from_secs(n.into())`, or seconds as a `u64`"
)]
pub trait Period {
    /// Returns the length.
    fn duration(self) -> Duration;
}

impl Period for Duration {
    #[inline]
    fn duration(self) -> Duration {
        self
    }
}

impl Period for u64 {
    #[inline]
    fn duration(self) -> Duration {
        Duration::from_secs(self)
    }
}

/// How long a value is kept: a length of time or seconds, or `None` for not at all.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how long a value is kept",
    label = "neither a `Duration`, nor a `u64`, nor an `Option` of one",
    note = "return a `Duration`, or seconds as a `u64`; `None` keeps the value out of the cache"
)]
pub trait Lifetime {
    /// Returns the length.
    fn lifetime(self) -> Option<Duration>;
}

impl Lifetime for Duration {
    fn lifetime(self) -> Option<Duration> {
        Some(self)
    }
}

impl Lifetime for u64 {
    fn lifetime(self) -> Option<Duration> {
        Some(Duration::from_secs(self))
    }
}

impl<T: Lifetime> Lifetime for Option<T> {
    fn lifetime(self) -> Option<Duration> {
        self.and_then(Lifetime::lifetime)
    }
}

/// Returns the length of time that an argument's expression gives.
#[inline]
pub fn duration(period: impl Period) -> Duration {
    period.duration()
}
