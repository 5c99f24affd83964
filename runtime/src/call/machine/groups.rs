//! The groups of a call's value.
//!
//! How their stamps are asked for is in `stamped`, what follows from them in `decide` and
//! `found`.

use std::sync::Arc;

use crate::exchange::Outcome;
use crate::value::record::Found;
use crate::value::stamp::Stamps;

/// The groups of a call's value, and what is known of their stamps.
#[derive(Debug)]
pub(crate) struct Groups {
    /// The keys of their stamps.
    pub(super) keys: Arc<[String]>,
    pub(super) known: KnownStamps,
}

/// What is known of the stamps of a value's groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownStamps {
    Nothing,
    /// A writer is at work on all of a group: the hash of what all groups show.
    Marked(u64),
    Stamps(Stamps),
}

impl Groups {
    pub(crate) fn new(keys: Arc<[String]>) -> Self {
        Groups { keys, known: KnownStamps::Nothing }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Returns the stamps for a value that is stored now.
    pub(super) fn stamps(&self) -> Option<Stamps> {
        self.known.stamps()
    }

    /// Returns whether a value may be stored: its groups' stamps are known, if it has any.
    pub(super) fn allow_storing(&self) -> bool {
        self.is_empty() || self.stamps().is_some()
    }

    /// Whether there are groups whose stamps could not be found out.
    pub(super) fn are_unknown(&self) -> bool {
        !self.is_empty() && self.known == KnownStamps::Nothing
    }

    /// Tells computations under different stamps apart.
    pub(super) fn mix(&self) -> u64 {
        match self.known {
            KnownStamps::Nothing => 0,
            KnownStamps::Marked(number) => number,
            KnownStamps::Stamps(stamps) => stamps.mix(),
        }
    }
}

impl KnownStamps {
    pub(crate) fn stamps(self) -> Option<Stamps> {
        if let KnownStamps::Stamps(stamps) = self { Some(stamps) } else { None }
    }

    /// Whether these are the stamps that a value was stored under. One in no groups has none.
    pub(crate) fn are_of<V>(self, found: &Found<V>) -> bool {
        found.times.and_then(|times| times.stamps) == self.stamps()
    }
}

/// The answer to what a call has asked.
pub(crate) struct Answered {
    pub(crate) outcome: Outcome,
    pub(crate) known: KnownStamps,
}

impl From<Outcome> for Answered {
    fn from(outcome: Outcome) -> Self {
        Answered { outcome, known: KnownStamps::Nothing }
    }
}
