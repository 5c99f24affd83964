//! What a call asks about its key, and what it may have won by that.

use std::time::Duration;

#[cfg(feature = "tokio")]
use super::super::freshness::{Age, Freshness};
#[cfg(feature = "tokio")]
use crate::exchange::{Grant, Outcome, Reply, Token};
use crate::exchange::{Guard, Note, Request};
use crate::singleflight::lease::LEASE;
#[cfg(feature = "tokio")]
use crate::singleflight::lease::{On, Won, fingerprint};
#[cfg(feature = "tokio")]
use crate::value::mark;

/// What a call asks about its key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Question {
    Peek,
    /// What the value is, or whether this call computes one.
    Lookup {
        refresh: Duration,
    },
    /// Whether this call takes the lease with this number over.
    TakeOver(u64, Note),
    /// To elect another caller for the stale item with this number.
    Reopen(u64, Option<Duration>),
}

impl Question {
    /// Whether the answer may be a lease.
    #[cfg(feature = "tokio")]
    pub(super) fn may_win(self) -> bool {
        matches!(self, Question::Lookup { .. } | Question::TakeOver(..))
    }

    pub(super) fn about(self, key: &str) -> Request<'_> {
        match self {
            Question::Peek => Request::Peek { key },
            Question::Lookup { refresh } => Request::Lookup { key, lease: LEASE, refresh },
            Question::TakeOver(cas, note) => Request::Renew { key, cas, note, lease: LEASE },
            Question::Reopen(cas, ttl) => Request::Invalidate { key, guard: Guard::Held(cas), ttl },
        }
    }
}

/// Returns what a question has won for a caller that is gone by now.
#[cfg(feature = "tokio")]
pub(super) fn unclaimed(outcome: &Outcome, freshness: Freshness) -> Option<Won> {
    match outcome {
        Ok(Reply::Missing(Grant::Won(cas)) | Reply::Renewed(cas)) => Some(Won { cas: *cas, on: On::Nothing, value: 0 }),
        Ok(Reply::Found(item)) if item.token == Token::Won && !mark::is_mark(item) => match freshness.age(item, None) {
            Age::Fresh(_) => None,
            Age::Stale | Age::Dead => Some(Won { cas: item.cas, on: On::Stale, value: fingerprint(&item.value) }),
        },
        _ => None,
    }
}
