//! What has been written elsewhere while a node was out, and so is out of date
//! on the node itself.
//!
//! Only remembers; `recovery` puts it right. It remembers so many keys and no more:
//! to flush a server would remove what other programs keep there. What it cannot
//! remember is told by its number, as `watermark` has it.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::sync::lock;

/// How many keys are remembered.
const MOST: usize = 65_536;

/// The keys of those writes.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Noted>);

/// What a journal holds.
pub(crate) type Noted = HashSet<String>;

impl Journal {
    /// Notes a write to another node, before it happens.
    pub(crate) fn note(&self, key: &str) {
        let mut entries = lock(&self.0);
        if entries.len() < MOST && !entries.contains(key) {
            entries.insert(key.to_owned());
        }
    }

    /// Takes out everything noted so far.
    pub(crate) fn take(&self) -> Noted {
        std::mem::take(&mut lock(&self.0))
    }

    /// Puts back what could not be put right.
    pub(crate) fn put_back(&self, old: Noted) {
        lock(&self.0).extend(old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let journal = Journal::default();
        for i in 0..2 * MOST {
            journal.note(&i.to_string());
        }
        let entries = journal.take();
        assert_eq!(entries.len(), MOST);
        journal.put_back(entries);
        assert_eq!(journal.take().len(), MOST);
        assert!(journal.take().is_empty());
    }
}
