//! Asks what calls need to know together with the stamps of their groups.
//!
//! Each stamp is asked for once per node, in front of the calls' own questions and in the
//! same exchange. A stamp that is not there is made, and counts once it was read back.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::freshness::Freshness;
use super::Machine;
use super::groups::{Answered, KnownStamps};
use super::question::Question;
use crate::cache::Cache;
use crate::error::Error;
use crate::exchange::{Guard, NodeBatch, Outcome, Reply, Request, Ttl, Verb, Write, unanswered};
use crate::store::Store;
use crate::store::spread::At;
use crate::time::budget::Budget;
use crate::value::mark;
use crate::value::stamp::{self, Stamp, Stamps};

/// What a call asks, which may be gone by the time that it is answered.
#[derive(Debug)]
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
    stamps: SmallVec<[NeededStamp<'a>; 2]>,
    /// Their indexes among those, by node and key, if there are many.
    indexes: HashMap<(usize, &'a str), usize>,
    /// The nodes of the calls' own keys.
    nodes: SmallVec<[usize; 1]>,
}

impl<'a> NeededStamps<'a> {
    fn of(store: &Store, asked: &'a [Inquiry]) -> Self {
        let placement = store.placement();
        let nodes: SmallVec<_> = asked.iter().map(|asked| placement.node_of(&asked.key)).collect();
        let mut all = NeededStamps { stamps: SmallVec::new(), indexes: HashMap::new(), nodes };
        for (index, asked) in asked.iter().enumerate() {
            let node = all.nodes[index];
            for key in asked.groups.iter() {
                if all.find(node, key).is_none() {
                    if all.nodes.len() > FEW {
                        all.indexes.insert((node, key), all.stamps.len());
                    }
                    all.stamps.push(NeededStamp { node, key, state: StampState::Unread });
                }
            }
        }
        all
    }

    fn find(&self, node: usize, key: &str) -> Option<&NeededStamp<'a>> {
        if self.nodes.len() > FEW {
            return self.indexes.get(&(node, key)).and_then(|index| self.stamps.get(*index));
        }
        self.stamps.iter().find(|needed| needed.node == node && needed.key == key)
    }

    fn requests(&self, asked: &'a [Inquiry]) -> impl Iterator<Item = At<'a>> {
        let stamp =
            |needed: &NeededStamp<'a>| At { node: Some(needed.node), request: Request::Peek { key: needed.key } };
        let own =
            |(asked, node): (&'a Inquiry, &usize)| At { node: Some(*node), request: asked.question.about(&asked.key) };
        self.stamps.iter().map(stamp).chain(asked.iter().zip(&self.nodes).map(own))
    }

    /// Takes the outcomes about the stamps; the others are left.
    fn take(&mut self, outcomes: &mut impl Iterator<Item = Outcome>) {
        for (needed, outcome) in self.stamps.iter_mut().zip(outcomes) {
            needed.state = StampState::of(outcome);
        }
    }

    /// Draws new stamps for those that are missing.
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
    fn take_made(&mut self, drawn: &[(usize, [u8; 16])], outcomes: Vec<Outcome>) {
        let mut outcomes = outcomes.into_iter();
        for (index, _) in drawn {
            let (_added, read) = (outcomes.next(), outcomes.next());
            self.stamps[*index].state = read.map_or(StampState::Missing, StampState::of);
        }
    }

    fn answers(&self, asked: &'a [Inquiry], outcomes: impl Iterator<Item = Outcome>) -> impl Iterator<Item = Answered> {
        let answer = move |((asked, node), outcome): ((&Inquiry, &usize), Outcome)| match self.known(asked, *node) {
            Ok(known) => Answered { outcome, known },
            // What it has won is given back by a call that computes and does not store.
            Err(_) if matches!(outcome, Ok(Reply::Missing(_))) => outcome.into(),
            Err(error) => outcome.and(Err(error)).into(),
        };
        asked.iter().zip(&self.nodes).zip(outcomes).map(answer)
    }

    fn known(&self, asked: &Inquiry, node: usize) -> Result<KnownStamps, Error> {
        // Tells what all of them show, marks included.
        let (mut shown, mut is_marked) = (0, false);
        let mut stamps = SmallVec::<[Stamp; 2]>::new();
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
    (
        $(#[$attr:meta])*
        $ask:ident, $ask_one:ident, $learn:ident, $ask_at:ident, $ask_node:ident, ($($async:tt)*), ($($await:tt)*)
    ) => {
        $(#[$attr])*
        pub(crate) $($async)* fn $ask(store: &Store, asked: &[Inquiry], budget: &Budget) -> Vec<Answered> {
            let (needed, outcomes) = $learn(store, asked, budget)$($await)*;
            needed.answers(asked, outcomes).collect()
        }

        $(#[$attr])*
        pub(crate) $($async)* fn $ask_one(store: &Store, asked: &Inquiry, budget: &Budget) -> Answered {
            let asked = std::slice::from_ref(asked);
            let (needed, outcomes) = $learn(store, asked, budget)$($await)*;
            needed.answers(asked, outcomes).next().unwrap_or_else(|| Err(unanswered()).into())
        }

        $(#[$attr])*
        $($async)* fn $learn<'a>(
            store: &Store,
            asked: &'a [Inquiry],
            budget: &Budget,
        ) -> (NeededStamps<'a>, impl Iterator<Item = Outcome> + use<>) {
            let mut needed = NeededStamps::of(store, asked);
            let outcomes = match needed.nodes[..] {
                [node] => {
                    let requests = needed.requests(asked).map(|at| at.request).collect();
                    store.$ask_node(Verb::Get, &NodeBatch { node, requests }, budget)$($await)*
                }
                _ => {
                    let requests: Vec<_> = needed.requests(asked).collect();
                    store.$ask_at(Verb::GetMany, &requests, budget)$($await)*
                }
            };
            let mut outcomes = outcomes.into_iter();
            needed.take(&mut outcomes);
            let drawn = needed.draw();
            if !drawn.is_empty() {
                let made = store.$ask_at(Verb::Add, &needed.making(&drawn), budget)$($await)*;
                needed.take_made(&drawn, made);
            }
            (needed, outcomes)
        }
    };
}

ask!(
    /// Asks, blocking.
    ask, ask_one, learn, ask_at, ask_node, (), ()
);
#[cfg(feature = "tokio")]
ask!(
    /// Asks, yielding.
    ask_async, ask_one_async, learn_async, ask_at_async, ask_node_async, (async), (.await)
);

/// Where the stamps of a value's groups are asked for.
#[derive(Debug)]
pub struct StampsSource {
    cache: Cache,
    inquiry: Inquiry,
}

impl StampsSource {
    /// Returns the stamps of an entry's groups, if it is in any.
    pub(crate) fn of(entry: &Machine) -> Option<Self> {
        let inquiry = || Inquiry::peek(entry, entry.key.wire());
        entry.is_grouped().then(|| StampsSource { cache: entry.cache.clone(), inquiry: inquiry() })
    }

    pub(crate) fn ask(&self) -> KnownStamps {
        ask_one(self.cache.store(), &self.inquiry, &self.cache.budget()).known
    }

    #[cfg(feature = "tokio")]
    pub(crate) async fn ask_async(&self) -> KnownStamps {
        ask_one_async(self.cache.store(), &self.inquiry, &self.cache.budget()).await.known
    }
}
