//! Asks what calls need to know together with the stamps of their groups.
//!
//! Each stamp is asked for once per node, in front of the calls' own questions and in the
//! same exchange. A stamp that is not there is made, and counts once it was read back.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::freshness::Freshness;
use super::Machine;
use super::groups::{Answered, KnownStamps};
use super::question::Question;
use crate::error::Error;
use crate::exchange::{Guard, Outcome, Reply, Request, Ttl, Verb, Write};
use crate::store::{At, Store};
use crate::time::budget::Budget;
use crate::value::mark;
use crate::value::stamp::{self, Stamp, Stamps};

/// What a call asks, which may be gone by the time that it is answered.
pub(crate) struct Inquiry {
    pub(super) key: String,
    question: Question,
    #[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "async callers alone may go"))]
    pub(super) freshness: Freshness,
    groups: Arc<[String]>,
}

impl Inquiry {
    pub(super) fn by(call: &Machine) -> Self {
        let (key, groups) = (call.stored_key().to_owned(), Arc::clone(&call.groups.keys));
        Inquiry { key, question: call.question(), freshness: call.freshness, groups }
    }

    /// Reads an item under this key, and wins nothing.
    pub(crate) fn peek(call: &Machine, key: &str) -> Self {
        Inquiry { key: key.to_owned(), question: Question::Peek, ..Self::by(call) }
    }
}

/// A stamp on a node, as far as it is known.
struct NeededStamp<'a> {
    node: usize,
    key: &'a str,
    state: StampState,
}

enum StampState {
    /// Not known yet.
    Unread,
    Missing,
    /// A writer's mark with this number stands there.
    Marked(u64),
    Read(Stamp),
    Failed(Error),
}

impl StampState {
    fn of(outcome: Outcome) -> Self {
        match outcome {
            Ok(Reply::Found(item)) if mark::is_mark(&item) => StampState::Marked(item.cas),
            Ok(Reply::Found(item)) => Stamp::read(&item).map_or(StampState::Missing, StampState::Read),
            Ok(_) => StampState::Missing,
            Err(error) => StampState::Failed(error),
        }
    }
}

/// So few calls find their stamps without a map.
const FEW: usize = 4;

/// All stamps that some calls need.
struct NeededStamps<'a> {
    stamps: Vec<NeededStamp<'a>>,
    /// Their places among those, by node and key, if there are many.
    places: HashMap<(usize, &'a str), usize>,
    /// The nodes of the calls' own keys.
    nodes: Vec<usize>,
}

impl<'a> NeededStamps<'a> {
    fn of(store: &Store, asked: &'a [Inquiry]) -> Self {
        let placement = store.placement();
        let nodes: Vec<usize> = asked.iter().map(|asked| placement.node_of(&asked.key)).collect();
        let mut all = NeededStamps { stamps: Vec::new(), places: HashMap::new(), nodes };
        for (index, asked) in asked.iter().enumerate() {
            let node = all.nodes[index];
            for key in asked.groups.iter() {
                if all.find(node, key).is_none() {
                    if all.nodes.len() > FEW {
                        all.places.insert((node, key), all.stamps.len());
                    }
                    all.stamps.push(NeededStamp { node, key, state: StampState::Unread });
                }
            }
        }
        all
    }

    fn find(&self, node: usize, key: &str) -> Option<&NeededStamp<'a>> {
        if self.nodes.len() > FEW {
            return self.places.get(&(node, key)).and_then(|place| self.stamps.get(*place));
        }
        self.stamps.iter().find(|needed| needed.node == node && needed.key == key)
    }

    fn requests(&self, asked: &'a [Inquiry]) -> Vec<At<'a>> {
        let stamp =
            |needed: &NeededStamp<'a>| At { node: Some(needed.node), request: Request::Peek { key: needed.key } };
        let own =
            |(asked, node): (&'a Inquiry, &usize)| At { node: Some(*node), request: asked.question.about(&asked.key) };
        self.stamps.iter().map(stamp).chain(asked.iter().zip(&self.nodes).map(own)).collect()
    }

    /// Takes the outcomes about the stamps; the others are left.
    fn learn(&mut self, outcomes: &mut impl Iterator<Item = Outcome>) {
        for (needed, outcome) in self.stamps.iter_mut().zip(outcomes) {
            needed.state = StampState::of(outcome);
        }
    }

    /// New stamps for those that are missing.
    fn draw(&self) -> Vec<(usize, [u8; 16])> {
        let missing = self.stamps.iter().enumerate().filter(|(_, needed)| matches!(needed.state, StampState::Missing));
        missing.map(|(index, _)| (index, Stamp::new().bytes())).collect()
    }

    fn making<'b>(&'b self, drawn: &'b [(usize, [u8; 16])]) -> Vec<At<'b>> {
        let make = |(index, value): &'b (usize, [u8; 16])| {
            let NeededStamp { node, key, .. } = self.stamps[*index];
            let (flags, ttl, how, guard) = (stamp::FLAGS, Ttl::Forever, Write::Add, Guard::None);
            let add = Request::Store { key, value, flags, ttl, how, guard };
            [add, Request::Peek { key }].map(|request| At { node: Some(node), request })
        };
        drawn.iter().flat_map(make).collect()
    }

    /// Takes what was read back of those that were made.
    fn made(&mut self, drawn: &[(usize, [u8; 16])], outcomes: Vec<Outcome>) {
        let mut outcomes = outcomes.into_iter();
        for (index, _) in drawn {
            let (_added, read) = (outcomes.next(), outcomes.next());
            self.stamps[*index].state = read.map_or(StampState::Missing, StampState::of);
        }
    }

    fn answers(&self, asked: &[Inquiry], outcomes: impl Iterator<Item = Outcome>) -> Vec<Answered> {
        let answer = |((asked, node), outcome): ((&Inquiry, &usize), Outcome)| match self.known(asked, *node) {
            Ok(known) => Answered { outcome, known },
            // What it has won is given back by a call that computes and does not store.
            Err(_) if matches!(outcome, Ok(Reply::Missing(_))) => outcome.into(),
            Err(error) => outcome.and(Err(error)).into(),
        };
        asked.iter().zip(&self.nodes).zip(outcomes).map(answer).collect()
    }

    fn known(&self, asked: &Inquiry, node: usize) -> Result<KnownStamps, Error> {
        // Tells what all of them show, marks included.
        let (mut shown, mut is_marked) = (0, false);
        let mut stamps = Vec::with_capacity(asked.groups.len());
        for key in asked.groups.iter() {
            let number = match self.find(node, key).map(|needed| &needed.state) {
                Some(StampState::Read(stamp)) => {
                    stamps.push(*stamp);
                    stamp.hard()
                }
                Some(StampState::Marked(number)) => {
                    is_marked = true;
                    *number
                }
                Some(StampState::Failed(error)) => return Err(error.alike()),
                Some(StampState::Missing | StampState::Unread) | None => return Ok(KnownStamps::Nothing),
            };
            shown = xxh3_64_with_seed(&number.to_le_bytes(), shown);
        }
        Ok(match is_marked {
            true => KnownStamps::Marked(shown),
            false => KnownStamps::Stamps(Stamps::of(&stamps)),
        })
    }
}

macro_rules! ask {
    ($(#[$attr:meta])* $name:ident, $ask_at:ident, ($($async:tt)*), ($($await:tt)*)) => {
        $(#[$attr])*
        pub(crate) $($async)* fn $name(store: &Store, asked: &[Inquiry], budget: &Budget) -> Vec<Answered> {
            let mut needed = NeededStamps::of(store, asked);
            let verb = if asked.len() == 1 { Verb::Get } else { Verb::GetMany };
            let requests = needed.requests(asked);
            let outcomes = store.$ask_at(verb, &requests, budget)$($await)*;
            drop(requests);
            let mut outcomes = outcomes.into_iter();
            needed.learn(&mut outcomes);
            let drawn = needed.draw();
            if !drawn.is_empty() {
                let made = store.$ask_at(Verb::Add, &needed.making(&drawn), budget)$($await)*;
                needed.made(&drawn, made);
            }
            needed.answers(asked, outcomes)
        }
    };
}

ask!(
    /// Asks, blocking.
    ask, ask_at, (), ()
);
#[cfg(feature = "tokio")]
ask!(
    /// Asks, yielding.
    ask_async, ask_at_async, (async), (.await)
);
