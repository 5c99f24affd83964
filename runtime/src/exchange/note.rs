//! What a holder writes into a lease that it renews, for waiters in other
//! processes: how long computing usually takes, and which holder it is.
//!
//! The note is the client flags of the empty item that stands for the lease: a
//! marker in the first eight bits, the estimate in the next eight, and sixteen
//! random bits of the holder in the last.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Eight bits that mark the flags; values of this crate have others.
const MARKER: u32 = 0x6C;

/// The note in a renewed lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note(u32);

impl Note {
    /// Creates the note of a new holder.
    pub(crate) fn new(estimate: Option<Duration>) -> Self {
        let holder = RandomState::new().hash_one(()) as u16;
        Note(MARKER << 24 | u32::from(steps(estimate)) << 16 | u32::from(holder))
    }

    /// Reads the flags of an empty item as a note, if they are one.
    pub(crate) fn of(flags: u32) -> Option<Self> {
        (flags >> 24 == MARKER).then_some(Note(flags))
    }

    /// Returns the client flags to write.
    pub(crate) fn flags(self) -> u32 {
        self.0
    }

    /// Returns how long computing usually takes, if the holder knows.
    pub(crate) fn estimate(self) -> Option<Duration> {
        match self.0 >> 16 & 0xFF {
            0 => None,
            steps => Some(Duration::from_secs_f64((f64::from(steps - 1) / 4.0).exp2() / 1e6)),
        }
    }
}

/// Quarters of powers of two, in microseconds, rounded up; 0 is unknown.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 253")]
fn steps(estimate: Option<Duration>) -> u8 {
    let quarters = |estimate: Duration| (4.0 * (estimate.as_secs_f64() * 1e6).max(1.0).log2()).ceil().min(252.0);
    estimate.map_or(0, |estimate| 1 + quarters(estimate) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_comes_back_within_a_fifth_and_is_never_shorter() {
        for micros in [1, 2, 3, 5, 17, 999, 30_000, 300_000, 2_000_000, 3_600_000_000_u64] {
            let estimate = Duration::from_micros(micros);
            let note = Note::of(Note::new(Some(estimate)).flags()).expect("a note");
            let read = note.estimate().expect("an estimate");
            assert!(read >= estimate.mul_f64(0.999) && read <= estimate.mul_f64(1.2), "{estimate:?}: {read:?}");
        }
        assert_eq!(Note::new(None).estimate(), None);
    }

    #[test]
    fn flags_of_values_are_no_note() {
        assert_eq!([0, 16, 0x6D63_0000, 0x6D63_0100].map(Note::of), [None; 4]);
    }
}
