//! Processes that invalidate a group, readers of one of its values, and a server with the
//! stamp and the value.
//!
//! A value carries the stamp under which it was stored; its flags are its version.

use std::time::{Duration, Instant};

use super::super::marking::Marking;
use super::{Server, World};
use crate::exchange::{Grant, Guard, Outcome, Reply, Request, Ttl, Write};
use crate::value::stamp::{self, Stamp};

#[derive(Clone, Copy, Debug)]
struct Bounds {
    invalidators: usize,
    readers: usize,
    /// How often the server may lose an item.
    evictions: u8,
    protocol: Protocol,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Stamps,
    /// Trusts a stamp that it has made itself, without reading it back.
    Trusting,
    /// Stores under the stamp that is there by then.
    Late,
}

const SMALL: Bounds = Bounds { invalidators: 1, readers: 2, evictions: 1, protocol: Protocol::Stamps };

#[derive(Clone, Debug)]
struct Invalidator {
    stage: Stage,
    marking: Marking,
    replies: Vec<Outcome>,
    version: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Commits,
    Ends,
    Over,
}

#[derive(Clone, Debug)]
struct Reading {
    stage: Reader,
    floor: u32,
    /// The stamp that it has read, or made.
    stamp: Option<Stamp>,
    /// The number under which it may store.
    number: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    Begins,
    LooksUp,
    /// Its stamp is missing: it adds one, which may arrive late.
    Adds,
    ReadsBack,
    Reads,
    Stores(u32),
    Over,
}

#[derive(Clone, Debug)]
struct State {
    stamp: Server,
    value: Server,
    committed: u32,
    acknowledged: u32,
    invalidators: Vec<Invalidator>,
    readers: Vec<Reading>,
    /// Stamps that are still on their way to the server.
    late: Vec<Stamp>,
    evictions: u8,
    bounds: Bounds,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Invalidates(usize),
    Reads(usize),
    Arrives,
    EvictStamp,
    EvictValue,
}

fn stamp(reply: &Reply) -> Option<Stamp> {
    if let Reply::Found(item) = reply { Stamp::read(item) } else { None }
}

impl State {
    fn new(bounds: Bounds) -> Self {
        let invalidator = |_| Invalidator {
            stage: Stage::Commits,
            marking: Marking::ending(Duration::from_secs(10)).of_stamp(),
            replies: Vec::new(),
            version: 0,
        };
        let reading = Reading { stage: Reader::Begins, floor: 0, stamp: None, number: None };
        State {
            stamp: Server::default(),
            value: Server::default(),
            committed: 0,
            acknowledged: 0,
            invalidators: (0..bounds.invalidators).map(invalidator).collect(),
            readers: vec![reading; bounds.readers],
            late: Vec::new(),
            evictions: bounds.evictions,
            bounds,
        }
    }

    fn invalidates(&mut self, number: usize, now: Instant) {
        let one = &mut self.invalidators[number];
        if one.stage == Stage::Commits {
            self.committed += 1;
            (one.version, one.stage) = (self.committed, Stage::Ends);
            return;
        }
        if one.replies.is_empty() {
            one.marking.decide(now);
        }
        let requests: Vec<_> = one.marking.requests("stamp").collect();
        one.replies.push(Ok(self.stamp.ask(&requests[one.replies.len()])));
        if one.replies.len() < requests.len() {
            return;
        }
        let replies = std::mem::take(&mut one.replies);
        one.marking.answered(replies, now).expect("replies");
        if one.marking.is_over() {
            one.stage = Stage::Over;
            self.acknowledged = self.acknowledged.max(one.version);
        }
    }

    fn add(&mut self, stamp: Stamp) {
        let (key, value, flags) = ("stamp", &stamp.bytes()[..], stamp::FLAGS);
        self.stamp.ask(&Request::Store { key, value, flags, ttl: Ttl::Forever, how: Write::Add, guard: Guard::None });
    }

    fn reads(&mut self, number: usize) -> Result<(), String> {
        let Reading { stage, floor, stamp: known, number: held } = self.readers[number].clone();
        let mut next = self.readers[number].clone();
        match stage {
            Reader::Begins => {
                next.floor = self.acknowledged;
                next.stamp = stamp(&self.stamp.ask(&Request::Peek { key: "stamp" }));
                next.stage = Reader::LooksUp;
            }
            Reader::LooksUp => {
                let lookup = Request::Lookup { key: "value", lease: Duration::from_secs(2), refresh: Duration::ZERO };
                next.stage = if known.is_some() { Reader::Reads } else { Reader::Adds };
                match self.value.ask(&lookup) {
                    Reply::Found(item) if known.is_some_and(|known| item.value == known.bytes()) => {
                        if item.flags < floor {
                            return Err(format!("a hit on {} after {floor} was acknowledged", item.flags));
                        }
                        next.stage = Reader::Over;
                    }
                    // Of no use, and replaced.
                    Reply::Found(item) => next.number = Some(item.cas),
                    Reply::Missing(Grant::Won(cas)) => next.number = Some(cas),
                    _ => {}
                }
            }
            Reader::Adds => {
                let made = Stamp::new();
                match self.bounds.protocol {
                    Protocol::Trusting => {
                        self.late.push(made);
                        (next.stamp, next.stage) = (Some(made), Reader::Reads);
                    }
                    _ => {
                        self.add(made);
                        next.stage = Reader::ReadsBack;
                    }
                }
            }
            Reader::ReadsBack => {
                next.stamp = stamp(&self.stamp.ask(&Request::Peek { key: "stamp" }));
                next.stage = Reader::Reads;
            }
            Reader::Reads => next.stage = Reader::Stores(self.committed),
            Reader::Stores(version) => {
                let under = match self.bounds.protocol {
                    Protocol::Late => stamp(&self.stamp.ask(&Request::Peek { key: "stamp" })),
                    _ => known,
                };
                if let (Some(under), Some(held)) = (under, held) {
                    let (key, value, guard) = ("value", &under.bytes()[..], Guard::Held(held));
                    let (flags, ttl, how) = (version, Ttl::Forever, Write::Set);
                    self.value.ask(&Request::Store { key, value, flags, ttl, how, guard });
                }
                next.stage = Reader::Over;
            }
            Reader::Over => {}
        }
        self.readers[number] = next;
        Ok(())
    }
}

impl World for State {
    type Action = Action;

    fn actions(&self) -> Vec<Action> {
        let invalidators = self.invalidators.iter().enumerate().filter(|(_, one)| one.stage != Stage::Over);
        let readers = self.readers.iter().enumerate().filter(|(_, one)| one.stage != Reader::Over);
        let mut actions: Vec<_> = invalidators.map(|(number, _)| Action::Invalidates(number)).collect();
        actions.extend(readers.map(|(number, _)| Action::Reads(number)));
        if !self.late.is_empty() {
            actions.push(Action::Arrives);
        }
        if self.evictions > 0 {
            actions.extend(self.stamp.slot.as_ref().map(|_| Action::EvictStamp));
            actions.extend(self.value.slot.as_ref().map(|_| Action::EvictValue));
        }
        actions
    }

    fn act(&mut self, action: Action, now: Instant) -> Result<(), String> {
        match action {
            Action::Invalidates(number) => self.invalidates(number, now),
            Action::Reads(number) => return self.reads(number),
            Action::Arrives => {
                let stamp = self.late.remove(0);
                self.add(stamp);
            }
            Action::EvictStamp => {
                self.evictions -= 1;
                self.stamp.slot = None;
            }
            Action::EvictValue => {
                self.evictions -= 1;
                self.value.slot = None;
            }
        }
        Ok(())
    }

    /// A value counts only under the stamp that is there.
    fn quiet(&self) -> Result<(), String> {
        let (Some(stamp), Some(value)) = (&self.stamp.slot, &self.value.slot) else { return Ok(()) };
        let counts = value.value.is_some() && value.value == stamp.value;
        if counts && value.flags != self.committed {
            return Err(format!("{} is left, not {}", value.flags, self.committed));
        }
        Ok(())
    }
}

#[track_caller]
fn holds(bounds: Bounds) {
    let states = super::explore(State::new(bounds)).unwrap_or_else(|broken| panic!("{bounds:?}: {broken}"));
    println!("{states} states of {bounds:?}");
    assert!(states > 100, "{states} states");
}

#[test]
fn no_old_value_counts_however_readers_and_invalidations_overlap() {
    holds(Bounds { evictions: 0, ..SMALL });
    holds(SMALL);
    holds(Bounds { readers: 1, evictions: 3, ..SMALL });
    holds(Bounds { invalidators: 2, readers: 1, ..SMALL });
}

/// The trace B3.
#[test]
fn a_stamp_that_was_not_read_back_may_arrive_late() {
    let trusting = Bounds { protocol: Protocol::Trusting, evictions: 0, ..SMALL };
    let broken = super::explore(State::new(trusting)).expect_err("it cannot hold");
    assert!(broken.contains("left") || broken.contains("hit"), "{broken}");
}

/// The trace B4.
#[test]
fn a_value_that_gets_the_stamp_of_when_it_is_stored_is_old() {
    let late = Bounds { protocol: Protocol::Late, evictions: 0, ..SMALL };
    let broken = super::explore(State::new(late)).expect_err("it cannot hold");
    assert!(broken.contains("left") || broken.contains("hit"), "{broken}");
}
