//! Explores all orders in which writers, readers and a server can act, within bounds.
//!
//! What is explored are the real [`Marking`](super::marking::Marking)s; the rest are models.
//! `cargo test -p memocached --lib -- --ignored writing::model` explores more.

#[cfg(test)]
mod groups;
#[cfg(test)]
mod writers;

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use crate::exchange::{Grant, Guard, Item, Reply, Request, Write};
use crate::value::mark::{self, Mark};

/// The state of all that take part, and what can happen next.
trait World: Clone + Debug {
    type Action: Copy + Debug;

    fn actions(&self) -> Vec<Self::Action>;

    /// # Errors
    ///
    /// If a promise is broken.
    fn act(&mut self, action: Self::Action, now: Instant) -> Result<(), String>;

    /// Checks what is left once nothing can happen any more.
    fn quiet(&self) -> Result<(), String>;
}

/// Explores everything; says how many states there are, or how a promise is broken.
fn explore<W: World>(first: W) -> Result<usize, String> {
    let (hash, now) = (RandomState::new(), Instant::now());
    let mut seen = HashSet::new();
    let mut left = vec![(first, Vec::new())];
    while let Some((world, trace)) = left.pop() {
        assert!(seen.len() < 2_000_000, "too many states");
        if !seen.insert(canonical(&world, &hash)) {
            continue;
        }
        let actions = world.actions();
        let failed = |why: String, trace: &[W::Action]| format!("{why}: {trace:?}");
        if actions.is_empty() {
            world.quiet().map_err(|why| failed(why, &trace))?;
        }
        for action in actions {
            let (mut next, mut trace) = (world.clone(), trace.clone());
            trace.push(action);
            next.act(action, now).map_err(|why| failed(why, &trace))?;
            left.push((next, trace));
        }
    }
    Ok(seen.len())
}

/// The state with its numbers in the order in which they appear, since their values
/// do not matter.
fn canonical(world: &impl Debug, hash: &RandomState) -> u64 {
    let text = format!("{world:?}");
    let (mut names, mut short) = (HashMap::new(), String::new());
    let mut name = |number: String, short: &mut String| {
        let next = names.len();
        short.push_str(&format!("#{} ", names.entry(number).or_insert(next)));
    };
    let mut rest = text.as_str();
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, number) = rest.split_at(start);
        short.push_str(before);
        let list = number.split(']').next().unwrap_or_default();
        let bytes: Vec<u8> = list.split(", ").map_while(|byte| byte.parse().ok()).collect();
        if before.ends_with('[') && bytes.len() >= 8 {
            // The bytes of a mark.
            for bytes in bytes.chunks_exact(8) {
                name(u64::from_le_bytes(bytes.try_into().expect("eight bytes")).to_string(), &mut short);
            }
            rest = &number[list.len()..];
            continue;
        }
        let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        let is_random = ["Nonce(", "WriterToken(", "number: ", "cas: ", "Held(", "Stores("]
            .iter()
            .any(|name| before.ends_with(name));
        match is_random || before.ends_with("Reads(Some(") {
            true => name(number.to_owned(), &mut short),
            false if before.ends_with("last: ") => {}
            false => short.push_str(number),
        }
        rest = after;
    }
    short.push_str(rest);
    hash.hash_one(short)
}

/// The server's item; without a value it is a lease.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) value: Option<Vec<u8>>,
    pub(super) flags: u32,
    number: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Server {
    pub(super) slot: Option<Slot>,
    last: u64,
}

impl Server {
    fn put(&mut self, value: Option<Vec<u8>>, flags: u32) -> u64 {
        self.last += 1;
        self.slot = Some(Slot { value, flags, number: self.last });
        self.last
    }

    fn refuses(&self, guard: Guard) -> Option<Reply> {
        match (guard, &self.slot) {
            (Guard::None, _) => None,
            (_, None) => Some(Reply::Absent),
            (Guard::Held(number) | Guard::Unchanged(number), Some(slot)) => {
                (number != slot.number).then_some(Reply::Changed)
            }
        }
    }

    pub(super) fn ask(&mut self, request: &Request<'_>) -> Reply {
        match *request {
            Request::Lookup { .. } if self.slot.is_none() => Reply::Missing(Grant::Won(self.put(None, 0))),
            Request::Peek { .. } | Request::Lookup { .. } => match &self.slot {
                None => Reply::Missing(Grant::Free),
                Some(Slot { value: None, number, .. }) => Reply::Missing(Grant::Lost { cas: *number, note: None }),
                Some(Slot { value: Some(value), flags, number }) => {
                    let (value, flags, cas) = (value.clone(), *flags, *number);
                    Reply::Found(Item { value, flags, cas, seconds_left: Some(10), ..Item::default() })
                }
            },
            Request::Store { how: Write::Add, .. } if self.slot.is_some() => Reply::NotStored,
            Request::Store { value, flags, guard, .. } => self.refuses(guard).unwrap_or_else(|| {
                self.put(Some(value.to_vec()), flags);
                Reply::Done
            }),
            Request::Delete { guard, .. } => match self.refuses(guard) {
                None if self.slot.take().is_some() => Reply::Done,
                refused => refused.unwrap_or(Reply::Absent),
            },
            _ => unreachable!("no writer or caller asks for that"),
        }
    }

    pub(super) fn mark(&self) -> Option<Mark> {
        let Slot { value, flags, number } = self.slot.clone()?;
        Some(Mark::read(&Item { value: value?, flags, cas: number, ..Item::default() })?.0)
    }

    /// The version of the value that there is.
    pub(super) fn version(&self) -> Option<u8> {
        let slot = self.slot.as_ref().filter(|slot| slot.flags != mark::FLAGS)?;
        slot.value.as_ref().map(|value| value[0])
    }
}
