//! How long an item is kept.

use std::time::Duration;

/// How long an item is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ttl {
    /// Until it is evicted or deleted.
    Forever,
    /// This long, rounded up to whole seconds; at least one, and at most until
    /// the year 2038.
    For(Duration),
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Ttl::For(duration)
    }
}

impl Ttl {
    /// Whole seconds, at least one; `None` for ever.
    pub(crate) fn seconds(self) -> Option<u64> {
        match self {
            Ttl::Forever => None,
            Ttl::For(duration) => {
                Some(duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1))
            }
        }
    }
}
