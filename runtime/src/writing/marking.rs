//! One item that a writer marks before it changes the data behind it, and what is done
//! about it at the end.
//!
//! This decides and does no I/O: it says what to ask, and takes the replies. Every change
//! is made under the number that the item was seen with, so that overlapping writers see
//! each other. Each round is one write and one look behind it, in one packet.

use std::time::{Duration, Instant};

use super::sightings;
use crate::error::Error;
use crate::exchange::{Grant, Guard, Outcome, Reply, Request, Ttl, Write, unanswered};
use crate::value::mark::{self, Mark, Nonce, WriterToken};
use crate::value::record::Record;
use crate::value::stamp::{self, Stamp};

/// How often a change is tried under the number that the item was seen with. Then the
/// item is overwritten by a mark that no writer removes, and that ends by itself.
const TRIES: u8 = 4;

/// Servers count whole seconds: how much is left of the last one is unknown.
const SECOND: Duration = Duration::from_secs(1);

/// An item and what a writer does about it.
#[derive(Clone, Debug)]
pub(crate) struct Marking {
    token: WriterToken,
    /// The tokens that this writer had before, and that may still be in the mark.
    former: Vec<WriterToken>,
    /// How long the mark stands unless it is renewed.
    stands: Duration,
    /// Whether the item is the stamp of a group.
    is_stamp: bool,
    goal: Goal,
    seen: LastSeen,
    /// Until when the mark stood that another writer has left.
    stood_until: Option<Instant>,
    /// Whether nothing but this writer has changed the mark since before the data was
    /// changed.
    is_alone: bool,
    /// Whether the data has not been changed yet.
    is_first: bool,
    /// Whether this writer's mark has stood there.
    has_stood: bool,
    /// Whether it was missing later.
    was_lost: bool,
    /// How often the present goal was missed.
    tries: u8,
    /// What was sent last.
    sent: Option<WriteSent>,
}

/// What a writer wants of an item.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    /// That its mark stands there, and was written just now.
    Mark,
    /// That what is there goes, or other writers' marks stay.
    End,
    /// That a mark stays there for this long, and no writer removes it.
    Hold(Duration),
    /// That a new value is there, if no other writer may have a newer one, or else
    /// nothing.
    Put(Record, Ttl),
    /// That the values of the group whose stamp it is are stale.
    Soften,
    Nothing,
}

/// What is there, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LastSeen {
    Unknown,
    /// It does not matter.
    Whatever,
    Nothing,
    Mark {
        mark: Mark,
        number: u64,
    },
    /// A value, the lease of a caller that computes one, or the stamp of a group.
    Other {
        number: u64,
        stamp: Option<Stamp>,
    },
}

impl LastSeen {
    /// Whether this writer is the only one at work.
    fn is_mark_of(&self, token: WriterToken) -> bool {
        matches!(self, LastSeen::Mark { mark, .. } if *mark == Mark::of(token))
    }
}

/// A write, whose bytes outlast its request.
#[derive(Clone, Debug)]
struct WriteSent {
    change: Nonce,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Mark { bytes: Vec<u8>, ttl: Duration, how: Write, guard: Guard },
    Stamp { bytes: [u8; 16], guard: Guard },
    Put { guard: Guard },
    Delete { guard: Guard },
}

impl Marking {
    /// Marks an item, for as long as this unless the mark is renewed.
    pub(crate) fn begin(stands: Duration) -> Self {
        Marking { goal: Goal::Mark, ..Self::ending(stands) }
    }

    /// Removes an item whatever it is, and marks of other writers with it.
    pub(crate) fn unmarked() -> Self {
        Marking { seen: LastSeen::Whatever, ..Self::ending(Duration::ZERO) }
    }

    /// Removes an item that has not been marked.
    pub(crate) fn ending(stands: Duration) -> Self {
        Marking {
            token: WriterToken::new(stands),
            former: Vec::new(),
            stands,
            is_stamp: false,
            goal: Goal::End,
            seen: LastSeen::Unknown,
            stood_until: None,
            is_alone: false,
            is_first: true,
            has_stood: false,
            was_lost: false,
            tries: 0,
            sent: None,
        }
    }

    /// The item is the stamp of a group: in its place another one is left.
    pub(crate) fn of_stamp(self) -> Self {
        Marking { is_stamp: true, ..self }
    }

    /// Sets the next goal, now that the last one was reached or given up.
    pub(crate) fn turn_to(&mut self, goal: Goal) {
        (self.goal, self.tries, self.is_first) = (goal, 0, false);
    }

    /// Whether nothing is left to do: the goal was reached, or others were in the way for
    /// too long.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.goal, Goal::Nothing) || self.tries > TRIES
    }

    /// Whether this writer's mark was there when it looked last.
    pub(crate) fn is_marked(&self) -> bool {
        matches!(&self.seen, LastSeen::Mark { mark, .. } if self.is_in(mark))
    }

    /// Whether this writer is among those of a mark.
    pub(super) fn is_in(&self, mark: &Mark) -> bool {
        mark.tokens().any(|token| self.is_own(token))
    }

    /// Whether it was missing once after it had been there.
    pub(crate) fn was_lost(&self) -> bool {
        self.was_lost
    }

    /// Decides what to write next, if anything, before the next look.
    pub(crate) fn decide(&mut self, now: Instant) {
        if matches!(self.goal, Goal::Mark) && self.has_stood {
            // A token that stays the same for too long is a dead writer's.
            self.former.push(self.token);
            self.token = WriterToken::new(self.stands);
        }
        let change = Nonce::new();
        self.sent = self.next(change, now).map(|what| WriteSent { change, what });
    }

    fn next(&self, change: Nonce, now: Instant) -> Option<What> {
        if matches!(self.goal, Goal::Nothing) {
            return None;
        }
        let mark = |mark: Mark, ttl, how, guard| Some(What::Mark { bytes: mark.bytes(change), ttl, how, guard });
        let own = || Mark::of(self.token);
        if self.tries >= TRIES {
            let hold = if let Goal::Hold(time) = self.goal { time.max(self.stands) } else { self.stands };
            let holds = if let Goal::Mark = self.goal { own() } else { Mark::default() };
            return mark(holds.with(WriterToken::new(hold)), hold + SECOND, Write::Set, Guard::None);
        }
        match (&self.goal, &self.seen) {
            (Goal::Mark, LastSeen::Unknown | LastSeen::Nothing) => mark(own(), self.stands, Write::Add, Guard::None),
            (Goal::Mark, LastSeen::Mark { mark: seen, number }) => {
                let (others, left) = self.others(seen, now);
                mark(others.with(self.token), left.max(self.stands), Write::Set, Guard::Held(*number))
            }
            (Goal::Mark, LastSeen::Other { number, .. }) => mark(own(), self.stands, Write::Set, Guard::Held(*number)),
            (Goal::Put(..), LastSeen::Mark { number, .. }) if self.is_alone => {
                Some(What::Put { guard: Guard::Held(*number) })
            }
            (Goal::Hold(time), LastSeen::Nothing) => {
                mark(Mark::of(WriterToken::new(*time)), *time + SECOND, Write::Add, Guard::None)
            }
            (Goal::Hold(time), LastSeen::Other { number, .. }) => {
                mark(Mark::of(WriterToken::new(*time)), *time + SECOND, Write::Set, Guard::Held(*number))
            }
            (Goal::Hold(time), LastSeen::Mark { mark: seen, number }) => {
                let (others, left) = self.others(seen, now);
                let holds = others.with(WriterToken::new(*time));
                mark(holds, left.max(*time + SECOND), Write::Set, Guard::Held(*number))
            }
            (Goal::Soften, LastSeen::Other { number, stamp: Some(stamp) }) => {
                Some(What::Stamp { bytes: stamp.softened().bytes(), guard: Guard::Held(*number) })
            }
            (Goal::End | Goal::Put(..) | Goal::Soften, LastSeen::Mark { mark: seen, number }) => {
                let (others, left) = self.others(seen, now);
                match others.is_empty() {
                    true => Some(self.removal(*number)),
                    false => mark(others, left, Write::Set, Guard::Held(*number)),
                }
            }
            (Goal::End | Goal::Put(..) | Goal::Soften, LastSeen::Other { number, .. }) => Some(self.removal(*number)),
            (_, LastSeen::Whatever) => Some(What::Delete { guard: Guard::None }),
            (_, LastSeen::Unknown | LastSeen::Nothing) | (Goal::Nothing, _) => None,
        }
    }

    /// Removes the item with this number. Of a stamp there is another one at once, so that
    /// an old one which arrives late is refused.
    fn removal(&self, number: u64) -> What {
        let guard = Guard::Held(number);
        match self.is_stamp {
            true => What::Stamp { bytes: Stamp::new().bytes(), guard },
            false => What::Delete { guard },
        }
    }

    fn is_own(&self, token: WriterToken) -> bool {
        self.token == token || self.former.contains(&token)
    }

    /// Returns the other writers in the mark that may still be at work, and for how long the
    /// mark is to stand for them: not longer than they asked for.
    fn others(&self, seen: &Mark, now: Instant) -> (Mark, Duration) {
        let others = seen.tokens().filter(|token| !self.is_own(*token));
        let left: Vec<_> = others.filter_map(|token| Some((token, sightings::left(token, now)?))).collect();
        let longest = left.iter().map(|(_, left)| *left).max().unwrap_or_default();
        let stood = self.stood_until.map_or(Duration::MAX, |until| until.saturating_duration_since(now));
        (left.into_iter().map(|(token, _)| token).collect(), longest.min(stood))
    }

    /// Returns the requests of a round: the write, if there is one, and the look.
    pub(crate) fn requests<'a>(&'a self, key: &'a str) -> impl Iterator<Item = Request<'a>> {
        let write = self.sent.as_ref().map(|sent| match &sent.what {
            What::Mark { bytes, ttl, how, guard } => {
                let ttl = Ttl::For(*ttl);
                Request::Store { key, value: bytes, flags: mark::FLAGS, ttl, how: *how, guard: *guard }
            }
            What::Stamp { bytes, guard } => {
                let (value, flags, ttl) = (&bytes[..], stamp::FLAGS, Ttl::Forever);
                Request::Store { key, value, flags, ttl, how: Write::Set, guard: *guard }
            }
            What::Put { guard } => match &self.goal {
                Goal::Put(record, ttl) => {
                    let Record { bytes: value, flags } = record;
                    Request::Store { key, value, flags: *flags, ttl: *ttl, how: Write::Set, guard: *guard }
                }
                Goal::Mark | Goal::End | Goal::Hold(_) | Goal::Soften | Goal::Nothing => {
                    Request::Delete { key, guard: *guard }
                }
            },
            What::Delete { guard } => Request::Delete { key, guard: *guard },
        });
        write.into_iter().chain([Request::Peek { key }])
    }

    /// Takes the replies to the requests, in their order. `at` is when they were sent.
    ///
    /// # Errors
    ///
    /// If there was no reply: nothing is known of the item then.
    pub(crate) fn answered(&mut self, outcomes: impl IntoIterator<Item = Outcome>, at: Instant) -> Result<(), Error> {
        let sent = self.sent.take();
        let mut outcomes = outcomes.into_iter();
        let mut next = || outcomes.next().unwrap_or_else(|| Err(unanswered()));
        let replies = match &sent {
            Some(_) => next().and_then(|written| Ok((Some(written), next()?))),
            None => next().map(|look| (None, look)),
        };
        match replies {
            Ok((written, look)) => {
                self.learn(sent, written, look, at);
                Ok(())
            }
            Err(error) => {
                (self.seen, self.is_alone) = (LastSeen::Unknown, false);
                // It may be refused for its size, and another try would be late.
                if let Goal::Put(..) = self.goal {
                    self.goal = Goal::End;
                }
                Err(error)
            }
        }
    }

    fn learn(&mut self, sent: Option<WriteSent>, written: Option<Reply>, look: Reply, at: Instant) {
        let is_written = matches!(written, Some(Reply::Done));
        let (change, what) = sent.map_or((None, None), |sent| (Some(sent.change), Some(sent.what)));
        let mut is_own = false;
        self.seen = match look {
            Reply::Found(item) => match Mark::read(&item) {
                Some((mark, changed)) => {
                    is_own = is_written && change == Some(changed);
                    if !is_own {
                        self.stood_until = item.seconds_left.map(|left| at + Duration::from_secs(left));
                    }
                    if mark.has(self.token) {
                        self.former.clear();
                    }
                    mark.tokens().for_each(|token| sightings::note(token, at));
                    LastSeen::Mark { mark, number: item.cas }
                }
                None => LastSeen::Other { number: item.cas, stamp: Stamp::read(&item) },
            },
            Reply::Missing(Grant::Won(number) | Grant::Lost { cas: number, .. }) => {
                LastSeen::Other { number, stamp: None }
            }
            Reply::Missing(Grant::Free)
            | Reply::FoundMany(_)
            | Reply::Done
            | Reply::Renewed(_)
            | Reply::NotStored
            | Reply::Changed
            | Reply::Absent
            | Reply::Number(_)
            | Reply::Text(_)
            | Reply::Counters(_) => LastSeen::Nothing,
        };
        let is_reached = match (&self.goal, &what) {
            (Goal::Mark, _) => is_written && self.is_marked(),
            (Goal::Hold(_), _) => is_written,
            // Nothing was there that could have been removed, or it has gone by now.
            (Goal::End | Goal::Put(..), Some(What::Delete { .. } | What::Mark { .. } | What::Stamp { .. })) => {
                is_written || matches!(written, Some(Reply::Absent))
            }
            (Goal::Put(..), Some(What::Put { .. })) => is_written,
            (Goal::Soften, Some(_)) => is_written || matches!(written, Some(Reply::Absent)),
            (Goal::End | Goal::Put(..) | Goal::Soften, None) => self.seen == LastSeen::Nothing,
            (Goal::Nothing, _) | (Goal::End, Some(What::Put { .. })) => true,
        };
        if let Goal::Mark = self.goal {
            let was_there =
                if is_written { !matches!(what, Some(What::Mark { how: Write::Add, .. })) } else { self.is_marked() };
            self.was_lost |= self.has_stood && !was_there;
            self.has_stood |= self.is_marked();
        }
        self.is_alone = is_own && (self.is_alone || self.is_first) && self.seen.is_mark_of(self.token);
        if is_reached {
            self.goal = Goal::Nothing;
        } else if written.is_some() {
            self.tries += 1;
        }
    }
}
