//! What the cache did for the calls that a program observes, as it is shown.
//!
//! How it is recorded is in `observing`.

use std::fmt;
use std::time::Duration;

pub use super::stats::MissReason;

/// What the cache did for the memoized calls made within
/// [`observed`](crate::observed()) or [`observed_async`](crate::observed_async).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observed {
    /// The outermost calls, in the order in which they began.
    pub calls: Vec<ObservedCall>,
}

impl Observed {
    /// Returns the last of the outermost calls: the only one, as a rule.
    #[must_use]
    pub fn call(&self) -> Option<&ObservedCall> {
        self.calls.last()
    }

    /// Iterates over all calls, each before those that its body made.
    pub fn every(&self) -> impl Iterator<Item = &ObservedCall> {
        let mut ahead: Vec<&ObservedCall> = self.calls.iter().rev().collect();
        std::iter::from_fn(move || {
            let next = ahead.pop()?;
            ahead.extend(next.calls.iter().rev());
            Some(next)
        })
    }
}

/// What the cache did for one call of a memoized function.
///
/// For a function with `each` this is the call as a whole, which has no key, no
/// node and no ttl of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedCall {
    /// The function's name in metrics: the attribute's `name`, or its path.
    pub name: &'static str,
    /// The key's template.
    pub template: &'static str,
    /// How the call ended.
    pub outcome: CallOutcome,
    /// The key without the namespace; `None` if the cache was bypassed.
    pub key: Option<String>,
    /// The key as the store has it: with the namespace, and with a hash in place
    /// of its end if it is long.
    pub stored_key: Option<String>,
    /// The server that was asked for the value, as in
    /// [`NodeInfo`](crate::NodeInfo::name); `embedded` within the process. `None`
    /// if none was asked, as for a near hit or while a server is left alone.
    pub node: Option<String>,
    /// How long the value took to compute, by this call or an earlier one. Of a function
    /// with `each`, how long its bodies took. `None` if that is unknown.
    pub cost: Option<Duration>,
    /// How long ago the value was computed, in whole seconds. `None` if the call computed
    /// it, and where that is unknown: of a near hit, a value that was invalidated or is
    /// kept for ever, and where the server does not tell the time.
    pub age: Option<Duration>,
    /// How long the value stays fresh: in whole seconds as the server said, or as the
    /// call stored it. `None` for ever, if it is stale or was not stored, and where
    /// that is unknown, as for a near hit, or a `None` or `Err` that an async call stores
    /// after it has returned.
    pub ttl_left: Option<Duration>,
    /// The calls that the body made, in the order in which they began.
    pub calls: Vec<ObservedCall>,
}

/// How a call of a memoized function ended.
///
/// It is displayed in fixed words for headers and logs: `hit`,
/// `near`, `stale`, `coalesced`, `miss; absent`, `bypass`, `batch; hit=2, miss=1`,
/// `unfinished`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallOutcome {
    /// The store had a fresh value.
    Hit,
    /// This process kept the value near.
    NearHit,
    /// A value past its ttl was served: within its grace, or because computing failed.
    Stale,
    /// Another caller computed the value while this call waited.
    Coalesced,
    /// The call computed, or returned the cache's error.
    Miss(MissReason),
    /// The call computed without a cache: by [`Mode::Bypass`](crate::Mode::Bypass),
    /// `when`, or a cache that is off.
    Bypass,
    /// The function has `each`, and its elements ended in these ways.
    Batch(BatchCounts),
    /// The call returned no value: its future was dropped or is not ready yet, or its
    /// body panicked.
    Unfinished,
}

impl CallOutcome {
    /// Returns whether the cache had the value, or those of all elements, fresh or stale.
    #[must_use]
    pub fn is_hit(&self) -> bool {
        match self {
            CallOutcome::Hit | CallOutcome::NearHit | CallOutcome::Stale => true,
            CallOutcome::Batch(counts) => counts.hits + counts.near_hits + counts.stale == counts.elements,
            CallOutcome::Coalesced | CallOutcome::Miss(_) | CallOutcome::Bypass | CallOutcome::Unfinished => false,
        }
    }

    /// Returns whether there was no usable value of the call, or of one of its elements.
    #[must_use]
    pub fn is_miss(&self) -> bool {
        match self {
            CallOutcome::Miss(_) => true,
            CallOutcome::Batch(counts) => counts.misses > 0,
            CallOutcome::Hit
            | CallOutcome::NearHit
            | CallOutcome::Stale
            | CallOutcome::Coalesced
            | CallOutcome::Bypass
            | CallOutcome::Unfinished => false,
        }
    }
}

impl fmt::Display for CallOutcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            CallOutcome::Hit => "hit",
            CallOutcome::NearHit => "near",
            CallOutcome::Stale => "stale",
            CallOutcome::Coalesced => "coalesced",
            CallOutcome::Miss(reason) => return write!(formatter, "miss; {reason}"),
            CallOutcome::Bypass => "bypass",
            CallOutcome::Batch(counts) => return write!(formatter, "batch; {counts}"),
            CallOutcome::Unfinished => "unfinished",
        })
    }
}

/// How many elements of a call with `each` ended in which way. Elements with the same
/// key count once.
///
/// It is displayed as `hit=2, miss=1`, without what is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct BatchCounts {
    /// All elements.
    pub elements: usize,
    /// Those whose fresh values the store had.
    pub hits: usize,
    /// Those whose values this process kept near.
    pub near_hits: usize,
    /// Those that were served values past their ttl.
    pub stale: usize,
    /// Those that another caller computed while the call waited.
    pub coalesced: usize,
    /// Those that the call computed.
    pub misses: usize,
    /// Those that the call computed without a cache.
    pub bypassed: usize,
}

impl BatchCounts {
    /// Returns the count of the elements that ended like this.
    pub(super) fn of(&mut self, outcome: CallOutcome) -> Option<&mut usize> {
        Some(match outcome {
            CallOutcome::Hit => &mut self.hits,
            CallOutcome::NearHit => &mut self.near_hits,
            CallOutcome::Stale => &mut self.stale,
            CallOutcome::Coalesced => &mut self.coalesced,
            CallOutcome::Miss(_) => &mut self.misses,
            CallOutcome::Bypass => &mut self.bypassed,
            CallOutcome::Batch(_) | CallOutcome::Unfinished => return None,
        })
    }
}

impl fmt::Display for BatchCounts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            ("hit", self.hits),
            ("near", self.near_hits),
            ("stale", self.stale),
            ("coalesced", self.coalesced),
            ("miss", self.misses),
            ("bypass", self.bypassed),
        ];
        let counted = named.into_iter().filter(|(_, count)| *count > 0);
        let texts: Vec<String> = counted.map(|(name, count)| format!("{name}={count}")).collect();
        formatter.write_str(&texts.join(", "))
    }
}
