//! The numbers that the meta protocol's requests carry and their replies repeat.
//!
//! No two connections of a process use the same ones, and other processes begin
//! elsewhere: a reply that a broken proxy gives to another connection is refused
//! rather than taken for the value of another key.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many numbers a connection takes at once.
const BLOCK: u32 = 1024;
/// One less than the number of blocks. What is no number is read as [`u32::MAX`],
/// which thus no request has.
const LAST_BLOCK: u32 = (1 << 21) - 1;

/// The numbers of one connection's requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestNumbers {
    next: u32,
    /// The first number that this connection may not use.
    end: u32,
}

impl RequestNumbers {
    /// Creates the numbers of a new connection.
    pub(crate) fn unique() -> Self {
        static BLOCKS: LazyLock<AtomicU32> =
            LazyLock::new(|| AtomicU32::new(RandomState::new().hash_one(std::process::id()) as u32));
        let next = (BLOCKS.fetch_add(1, Ordering::Relaxed) & LAST_BLOCK) * BLOCK;
        RequestNumbers { next, end: next + BLOCK }
    }

    /// Creates the numbers from 1 on, for a connection that is alone.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn from_one() -> Self {
        RequestNumbers { next: 1, end: u32::MAX }
    }

    /// Returns the number of one more request.
    pub(crate) fn take(&mut self) -> u32 {
        if self.next == self.end {
            *self = Self::unique();
        }
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn connections_share_no_number() {
        let mut connections = [RequestNumbers::unique(), RequestNumbers::unique()];
        let numbers: HashSet<u32> = (0..6 * BLOCK as usize).map(|request| connections[request % 2].take()).collect();
        assert_eq!(numbers.len(), 6 * BLOCK as usize);
        assert!(!numbers.contains(&u32::MAX));
    }
}
