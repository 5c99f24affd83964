//! The time for which an item is kept. Its encoding for memcached is in the
//! protocol.

use std::time::Duration;

/// The time to live of an item.
///
/// Its resolution is a second. A [`Duration`] converts into [`Ttl::For`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Ttl {
    /// Keeps the item until it is evicted or deleted.
    Forever,
    /// Keeps the item for this long, rounded up to whole seconds: at least one
    /// second, and at most until 19 January 2038.
    For(Duration),
}

impl From<Duration> for Ttl {
    fn from(duration: Duration) -> Self {
        Ttl::For(duration)
    }
}

impl Ttl {
    /// Returns whole seconds, at least one; `None` for [`Ttl::Forever`].
    pub(crate) fn seconds(self) -> Option<u64> {
        match self {
            Ttl::Forever => None,
            Ttl::For(duration) => {
                Some(duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0)).max(1))
            }
        }
    }
}
