//! Another process that holds a lease, as far as this one can see it, and how long
//! it is waited for.

use std::time::{Duration, Instant};

use crate::exchange::Note;
use crate::singleflight::lease::{RENEWAL, RENEWAL_OF_STALE, SILENCE};
use crate::singleflight::pace::{Pace, Payment};
use crate::telemetry::computing::Wait;

/// The holder that a call waits for.
pub(super) struct Holder {
    /// Since when this process waits for it.
    since: Instant,
    cas: u64,
    sign: LeaseSign,
    /// Since when the lease has had this number.
    unchanged: Instant,
    /// How often the lease went to another holder meanwhile.
    successions: u32,
    polls: u32,
    /// How many of the last polls had no answer in time.
    unanswered: u32,
    pub(super) wait: Wait,
}

/// What another process's lease looks like, which tells when its next renewal is
/// due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseSign {
    /// It was granted, and not renewed yet.
    Granted,
    /// It was renewed, with this note.
    Renewed(Note),
    /// It is on a stale value, which shows no renewals but by its number.
    OnStale,
}

impl LeaseSign {
    /// Reads the note of a lease.
    pub(super) fn of(note: Option<Note>) -> Self {
        note.map_or(LeaseSign::Granted, LeaseSign::Renewed)
    }

    /// Returns how long computing usually takes, if the lease says so.
    pub(super) fn estimate(self) -> Option<Duration> {
        match self {
            LeaseSign::Renewed(note) => note.estimate(),
            LeaseSign::Granted | LeaseSign::OnStale => None,
        }
    }

    /// Returns the time after which a lease that stays as it is has no living
    /// holder.
    fn silence(self) -> Duration {
        match self {
            LeaseSign::Granted => SILENCE,
            LeaseSign::Renewed(_) => RENEWAL + SILENCE,
            LeaseSign::OnStale => RENEWAL_OF_STALE + SILENCE,
        }
    }

    fn is_anothers(self, before: Self) -> bool {
        matches!((before, self), (LeaseSign::Renewed(one), LeaseSign::Renewed(other)) if one != other)
    }
}

/// What to do about the holder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HolderVerdict {
    /// Ask again after this pause.
    Pause(Duration),
    /// Take the lease over, which is paid for so.
    TakeOver(Payment),
}

/// How often it is asked about within a caller's patience.
const POLLS: u32 = 6;
/// So many polls in a row without an answer are a failure of the server.
const UNANSWERED: u32 = 3;
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// While it is unknown how long computing takes.
const LONGEST_BLIND_PAUSE: Duration = Duration::from_millis(100);

impl Holder {
    /// Begins to wait for the holder of this lease.
    pub(super) fn seen(cas: u64, sign: LeaseSign, wait: Wait) -> Self {
        let now = Instant::now();
        Holder { since: now, cas, sign, unchanged: now, successions: 0, polls: 0, unanswered: 0, wait }
    }

    /// Takes in that a poll had no answer in time. Returns the pause before the
    /// next; `None` if the server has failed, or computing would take no longer than
    /// this has waited.
    pub(super) fn unanswered(&mut self, pace: &Pace) -> Option<Duration> {
        self.unanswered += 1;
        let is_patient = self.since.elapsed() < self.patience(pace);
        (is_patient && self.unanswered < UNANSWERED).then_some(LONGEST_BLIND_PAUSE)
    }

    /// Returns the number of its lease, as it was seen last.
    pub(super) fn cas(&self) -> u64 {
        self.cas
    }

    /// Whether it has been waited for longer than a caller is patient.
    pub(super) fn is_overdue(&self, pace: &Pace) -> bool {
        self.since.elapsed() >= self.patience(pace) || self.unchanged.elapsed() >= self.sign.silence()
    }

    fn patience(&self, pace: &Pace) -> Duration {
        pace.patience().saturating_mul(1 << self.successions.min(16))
    }

    /// Takes in what the lease looks like now, and decides how to go on.
    pub(super) fn judge(&mut self, cas: u64, sign: LeaseSign, pace: &Pace) -> HolderVerdict {
        let now = Instant::now();
        self.unanswered = 0;
        if cas != self.cas {
            if sign.is_anothers(self.sign) {
                self.successions += 1;
                self.since = now;
            }
            (self.cas, self.sign, self.unchanged) = (cas, sign, now);
        }
        self.polls += 1;
        let waited = now - self.since;
        let patience = self.patience(pace);
        // A living holder renews the lease, which changes its number.
        let is_silent = now - self.unchanged >= self.sign.silence();
        if (is_silent || waited >= patience)
            && let Some(payment) = pace.pay(waited)
        {
            return HolderVerdict::TakeOver(payment);
        }
        HolderVerdict::Pause(match pace.estimate() {
            Some(estimate) if self.polls <= POLLS => (estimate / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE),
            Some(_) => LONGEST_PAUSE.min(patience.max(SHORTEST_PAUSE)),
            None => (waited / 8).clamp(SHORTEST_PAUSE, LONGEST_BLIND_PAUSE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn judged(sign: LeaseSign, unchanged: Duration, pace: &Pace) -> Option<HolderVerdict> {
        let mut holder = Holder::seen(7, sign, Wait::none());
        // A machine that was started a moment ago knows no such time.
        holder.unchanged = holder.unchanged.checked_sub(unchanged)?;
        Some(holder.judge(7, sign, pace))
    }

    fn takes_over(sign: LeaseSign, unchanged: Duration) -> bool {
        judged(sign, unchanged, &Pace::new()).is_some_and(|patience| matches!(patience, HolderVerdict::TakeOver(_)))
    }

    #[test]
    fn a_lease_whose_renewal_is_a_second_late_is_taken_over() {
        let renewed = LeaseSign::of(Some(Note::new(None)));
        for (sign, silence) in [(LeaseSign::Granted, 1_000), (renewed, 2_000), (LeaseSign::OnStale, 3_500)] {
            assert!(!takes_over(sign, (silence - 100) * MS), "{sign:?}");
            assert!(takes_over(sign, silence * MS), "{sign:?}");
        }
    }

    #[test]
    fn a_holder_is_asked_about_often_at_first_and_then_once_a_second_at_least() {
        let pace = Pace::new();
        pace.ended(400 * MS);
        let mut holder = Holder::seen(7, LeaseSign::Granted, Wait::none());
        for _ in 0..POLLS {
            assert_eq!(holder.judge(7, LeaseSign::Granted, &pace), HolderVerdict::Pause(100 * MS));
        }
        assert_eq!(holder.judge(7, LeaseSign::Granted, &pace), HolderVerdict::Pause(600 * MS));
    }

    #[test]
    fn another_holder_of_the_lease_has_twice_as_long() {
        let pace = Pace::new();
        pace.ended(10_000 * MS);
        let [one, other] = [Some(Note::new(None)), Note::of(0x6C00_0000)].map(LeaseSign::of);
        let mut holder = Holder::seen(7, one, Wait::none());
        let _ = holder.judge(8, one, &pace);
        assert_eq!(holder.successions, 0, "it was renewed");
        let _ = holder.judge(9, other, &pace);
        assert_eq!(holder.successions, 1);
    }
}
