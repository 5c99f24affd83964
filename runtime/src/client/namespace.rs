//! What stands in front of a client's keys: the namespace and, where that can
//! be flushed, its generation.
//!
//! Says what to ask the server that keeps the generation; does not ask it.

use std::borrow::Cow;
use std::time::Instant;

use crate::cache::generation::{Generation, another};
use crate::client::act::Act;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Guard, Outcome, Reply, Ttl, Verb, Write};

/// The beginning of every key.
#[derive(Clone, Debug)]
pub(crate) struct Prefix<'a>(Cow<'a, str>);

impl<'a> Prefix<'a> {
    pub(crate) fn new(text: impl Into<Cow<'a, str>>) -> Self {
        Prefix(text.into())
    }

    /// Returns a key as the servers know it.
    pub(crate) fn key<'k>(&self, name: &'k str) -> Cow<'k, str> {
        if self.0.is_empty() { Cow::Borrowed(name) } else { Cow::Owned([&self.0, name].concat()) }
    }

    /// Returns how many bytes of a key are not its name.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Finds out a namespace's generation, or gives it one.
pub(crate) struct Settling<'a> {
    generation: &'a Generation,
    key: String,
    /// The generation, if there is none yet.
    number: u64,
    step: Round,
    /// When the question was asked.
    asked: Instant,
}

enum Round {
    Read,
    Add,
    /// Another client has added one first.
    ReadAgain,
}

impl<'a> Settling<'a> {
    pub(crate) fn new(generation: &'a Generation) -> Self {
        Settling { generation, key: generation.key(), number: another(), step: Round::Read, asked: Instant::now() }
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Returns what to ask next about the [key](Self::key).
    pub(crate) fn question(&self) -> Result<(Verb, Act<'_>), Error> {
        Ok(match self.step {
            Round::Read | Round::ReadAgain => (Verb::Get, Act::Get),
            Round::Add => (Verb::Add, Act::store(Write::Add, &self.number, Ttl::Forever, Guard::None)?),
        })
    }

    /// Takes the answer; gives the prefix unless there is more to ask.
    ///
    /// # Errors
    ///
    /// If the generation cannot be found out.
    pub(crate) fn answered(&mut self, outcome: Outcome) -> Result<Option<Prefix<'a>>, Error> {
        let number = match self.step {
            Round::Read => self.generation.read(outcome)?,
            Round::Add => (outcome? == Reply::Done).then_some(self.number),
            Round::ReadAgain => Some(self.generation.read(outcome)?.ok_or_else(unsettled)?),
        };
        self.step = if let Round::Read = self.step { Round::Add } else { Round::ReadAgain };
        let asked = std::mem::replace(&mut self.asked, Instant::now());
        Ok(number.map(|number| Prefix::new(self.generation.learn(number, asked))))
    }
}

/// Gives a namespace another generation.
pub(crate) struct Flush<'a> {
    generation: &'a Generation,
    key: String,
    number: u64,
}

impl<'a> Flush<'a> {
    /// Begins to flush a namespace.
    ///
    /// # Errors
    ///
    /// If the namespace has no generation.
    pub(crate) fn new(generation: Option<&'a Generation>) -> Result<Self, Error> {
        let generation = generation.ok_or_else(not_flushable)?;
        Ok(Flush { generation, key: generation.key(), number: another() })
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn act(&self) -> Result<Act<'_>, Error> {
        Act::store(Write::Set, &self.number, Ttl::Forever, Guard::None)
    }

    /// Takes the new generation for this client's own.
    pub(crate) fn done(self) {
        self.generation.learn(self.number, Instant::now());
    }
}

fn not_flushable() -> Error {
    let message = "the namespace cannot be flushed: build the client with `flushable_namespace`";
    Error::new(ErrorKind::Configuration, message)
}

fn unsettled() -> Error {
    Error::new(ErrorKind::Server, "the namespace's generation is gone as soon as it is stored")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Item;

    #[test]
    fn a_read_from_before_a_flush_does_not_undo_it() {
        let generation = Generation::new("shop");
        let mut before = Settling::new(&generation);
        let flush = Flush::new(Some(&generation)).expect("it has a generation");
        let flushed = Prefix::new(format!("shop:{}:", flush.number));
        flush.done();
        let item = Item { value: b"1".to_vec(), flags: 2, ..Item::default() };
        let prefix = before.answered(Ok(Reply::Found(item))).expect("a number").expect("it is settled");
        assert_eq!(prefix.key("x"), flushed.key("x"));
        assert_eq!(generation.fresh().as_deref(), Some(&*flushed.key("")));
    }
}
