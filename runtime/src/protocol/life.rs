//! The life of a server, from its start to its end. A server that starts again numbers
//! its items anew, so a number is valid only for the life that it comes from.
//!
//! Each server keeps a random number in an item, which is gone with its life and is
//! read on each new connection. Within this process the number that a lookup finds is
//! the server's plus that one: a number of another life becomes one that no item has.
//! What clients read and write has the server's own numbers, for other programs.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::words::say;
use crate::exchange::{Grant, Item, Reply};

/// One life of a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life(u64);

impl Life {
    /// Of a server that does not tell: its numbers are taken as they are.
    pub(crate) const UNKNOWN: Life = Life(0);
    /// The key of the item that tells.
    const KEY: &str = "memocached:life";

    /// Reads what the server keeps.
    pub(super) fn read(token: u64) -> Self {
        Life(token.max(1))
    }

    /// Appends the command that reads what the server keeps: it keeps something new if
    /// there is nothing yet. It adds nothing to that, and counts as no lookup.
    pub(super) fn ask(number: u32, out: &mut Vec<u8>) {
        // memcached 1.6.18 takes larger numbers for negative ones.
        let token = RandomState::new().hash_one(std::process::id()) >> 1;
        say!(out, "ma ", Self::KEY, " O", number, " N0 J", token, " D0 v\r\n");
    }

    /// Returns the number within this process of an item that the server gives this one. An
    /// item without a number has none here either.
    pub(crate) fn number(self, cas: u64) -> u64 {
        if cas == 0 { 0 } else { cas.wrapping_add(self.0) }
    }

    /// Returns the server's number of an item, if it is of this life.
    pub(crate) fn cas(self, number: u64) -> u64 {
        if number == 0 { 0 } else { number.wrapping_sub(self.0) }
    }

    /// Gives the item of a reply its number within this process.
    pub(super) fn renumber(self, reply: &mut Reply) {
        if let Reply::Found(Item { cas, .. })
        | Reply::Missing(Grant::Won(cas) | Grant::Lost { cas, .. })
        | Reply::Renewed(cas) = reply
        {
            *cas = self.number(*cas);
        }
    }
}

/// The life that the connections to a server have found it in last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lives(Arc<AtomicU64>);

impl Lives {
    pub(super) fn note(&self, life: Life) {
        self.0.store(life.0, Ordering::Relaxed);
    }

    /// Returns the present one.
    pub(crate) fn now(&self) -> Life {
        Life(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_valid_in_its_own_life_only() {
        let [one, other] = [0x1234_5678_9abc_def0, 0x6fed_cba9_8765_4321].map(Life::read);
        for cas in [1, 2, 7, 1 << 40, u64::MAX] {
            assert_eq!(one.cas(one.number(cas)), cas);
            assert!(other.cas(one.number(cas)) > 1 << 60);
        }
        assert_eq!((one.number(0), one.cas(0)), (0, 0));
        assert_eq!(Life::UNKNOWN.number(7), 7);
    }
}
