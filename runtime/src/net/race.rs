//! Which of a name's addresses to connect to, and when to try the next: each has
//! its share of the time, and none that was tried is given up before the end.
//!
//! Only decides; `socket` and `async_connection` connect. The address that is in
//! use comes first, as `resolve` has it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::net::fault::{Fault, Trouble};
use crate::time::budget::Deadline;

/// Attempts to connect, one of which is to succeed.
pub(crate) struct Race {
    untried: VecDeque<SocketAddr>,
    /// Attempts that have not ended.
    running: usize,
    /// How long an attempt goes on alone.
    share: Duration,
    /// When the next may begin.
    next: Instant,
    end: Instant,
    /// The first that went wrong.
    failed: Option<Fault>,
    /// If nothing has gone wrong, but time is up.
    late: Trouble,
}

/// What to do next.
pub(crate) enum Move {
    Try(SocketAddr),
    /// For an attempt to end, or until then.
    Wait(Option<Instant>),
    Lost(Fault),
}

impl Race {
    /// Begins a race to these addresses, which must end within the time left to connect.
    ///
    /// # Errors
    ///
    /// If there is no time or no address.
    pub(crate) fn new(addresses: Vec<SocketAddr>, deadline: Deadline) -> Result<Self, Fault> {
        let left = deadline.left_to_connect().ok_or(Trouble::OutOfTime)?;
        let several = u32::try_from(addresses.len()).unwrap_or(u32::MAX);
        let share = left.checked_div(several).ok_or_else(|| Fault::unreachable("the name has no address"))?;
        let late = Trouble::unconnected_in(left, deadline);
        let now = Instant::now();
        Ok(Race { untried: addresses.into(), running: 0, share, next: now, end: now + left, failed: None, late })
    }

    /// Returns when the race ends, which its caller has to observe.
    pub(crate) fn end(&self) -> Instant {
        self.end
    }

    /// Whether nothing can overtake the attempt that was begun last: no other runs,
    /// and none is left.
    pub(crate) fn is_last(&self) -> bool {
        self.running == 1 && self.untried.is_empty()
    }

    /// Decides what to do next.
    pub(crate) fn next(&mut self, now: Instant) -> Move {
        if self.running == 0 || now >= self.next {
            if let Some(address) = self.untried.pop_front() {
                self.running += 1;
                self.next = now + self.share;
                return Move::Try(address);
            }
            if self.running == 0 {
                return Move::Lost(self.lost());
            }
        }
        Move::Wait((!self.untried.is_empty()).then_some(self.next))
    }

    /// Learns that an attempt has failed.
    pub(crate) fn failed(&mut self, fault: Fault) {
        self.running -= 1;
        if fault.trouble != Trouble::Silent {
            self.failed.get_or_insert(fault);
        }
    }

    /// Returns why no attempt has succeeded: the first real reason, if there is one.
    pub(crate) fn lost(&mut self) -> Fault {
        self.failed.take().unwrap_or_else(|| self.late.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::time::budget::Budget;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn race(addresses: u8, limit: Duration) -> Race {
        let addresses = (1..=addresses).map(|last| SocketAddr::from(([127, 0, 0, last], 1))).collect();
        Race::new(addresses, Budget::new(limit, limit).deadline()).expect("time and addresses")
    }

    /// The last number of the address to try next.
    fn tried(race: &mut Race, now: Instant) -> Option<u8> {
        match race.next(now) {
            Move::Try(SocketAddr::V4(address)) => Some(address.ip().octets()[3]),
            _ => None,
        }
    }

    #[test]
    fn each_address_has_its_share_and_a_failure_makes_room_at_once() {
        let mut race = race(3, 90 * MILLISECOND);
        let begin = race.end() - 89 * MILLISECOND;
        assert_eq!([tried(&mut race, begin), tried(&mut race, begin)], [Some(1), None]);
        assert_eq!(tried(&mut race, begin + 31 * MILLISECOND), Some(2));
        race.failed(Fault::unreachable("refused"));
        assert_eq!(tried(&mut race, begin + 32 * MILLISECOND), None, "the first still runs");
        race.failed(Fault::unreachable("refused later"));
        assert_eq!(tried(&mut race, begin + 33 * MILLISECOND), Some(3));
        race.failed(Trouble::Silent.into());
        let Move::Lost(fault) = race.next(begin + 34 * MILLISECOND) else { panic!("it is over") };
        assert_eq!(fault.trouble, Trouble::Unreachable("refused"), "the first of the real errors");
    }

    #[test]
    fn silence_counts_against_a_server_that_was_given_a_fair_time() {
        for (limit, kind) in [(MILLISECOND, ErrorKind::Timeout), (90 * MILLISECOND, ErrorKind::Timeout)] {
            assert_eq!(race(1, limit).lost().kind(), kind);
        }
        let spent = Budget::new(90 * MILLISECOND, 90 * MILLISECOND);
        spent.spend(85 * MILLISECOND);
        let mut race = Race::new(vec![SocketAddr::from(([127, 0, 0, 1], 1))], spent.deadline()).expect("some time");
        assert_eq!(race.lost().kind(), ErrorKind::OutOfTime);
    }
}
