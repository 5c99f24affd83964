//! When this process has first seen the tokens of other writers: a token that has not
//! been replaced for as long as it stands is that of a dead one.
//!
//! Each process tells by its own clock, so that clocks which differ do no harm.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use crate::sync::{Mutex, lock};
use crate::value::mark::WriterToken;

/// How many tokens are remembered. To forget one is safe: it is taken for a new one.
const MOST: usize = 10_000;

/// Servers count whole seconds.
const SECOND: Duration = Duration::from_secs(1);

static SEEN: LazyLock<Mutex<HashMap<WriterToken, Instant>>> = LazyLock::new(Mutex::default);

/// Returns how long the writer with this token may still be at work; `None` if it is dead.
pub(super) fn left(token: WriterToken, now: Instant) -> Option<Duration> {
    let mut seen = lock(&SEEN);
    if seen.len() >= MOST {
        seen.retain(|token, since| ends(*token, *since) > now);
        if seen.len() >= MOST {
            seen.clear();
        }
    }
    let since = *seen.entry(token).or_insert(now);
    ends(token, since).checked_duration_since(now).filter(|left| !left.is_zero())
}

/// Notes that a token was seen.
pub(super) fn note(token: WriterToken, now: Instant) {
    let _ = left(token, now);
}

fn ends(token: WriterToken, since: Instant) -> Instant {
    since + token.stands() + SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_from_when_it_was_first_seen() {
        let (token, now) = (WriterToken::new(Duration::from_secs(2)), Instant::now());
        let after = |millis| left(token, now + Duration::from_millis(millis));
        assert_eq!(after(0), Some(Duration::from_secs(3)));
        assert_eq!(after(2_500), Some(Duration::from_millis(500)));
        assert_eq!(after(3_000), None);
        (0..MOST).for_each(|_| note(WriterToken::new(Duration::ZERO), now));
        assert!(lock(&SEEN).len() <= MOST);
    }
}
