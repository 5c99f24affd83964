//! Encodes times for memcached. Rounding to whole seconds is up to [`Ttl`].

use std::time::{SystemTime, UNIX_EPOCH};

use crate::exchange::Ttl;

/// In seconds; memcached reads a larger number as a Unix timestamp.
pub(super) const LONGEST_RELATIVE_TTL: u64 = 30 * 24 * 3_600;
/// A Unix timestamp; memcached stores them as signed 32-bit integers.
pub(super) const LATEST_EXPIRY: u64 = i32::MAX as u64;

/// Encodes a ttl for memcached: 0 for forever, seconds up to 30 days, and a Unix
/// timestamp beyond that.
pub(super) fn expiry(ttl: Ttl) -> u64 {
    match ttl.seconds() {
        None => 0,
        Some(seconds) if seconds <= LONGEST_RELATIVE_TTL => seconds,
        Some(seconds) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            now.saturating_add(seconds).min(LATEST_EXPIRY)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_ttl_over_thirty_days_becomes_a_timestamp() {
        let days = |days: u64| expiry(Ttl::For(Duration::from_secs(days * 86_400)));
        assert_eq!(expiry(Ttl::Forever), 0);
        assert_eq!(days(30), 2_592_000);
        assert!(days(31) > 1_700_000_000);
        assert_eq!(days(1_000_000), LATEST_EXPIRY);
    }
}
