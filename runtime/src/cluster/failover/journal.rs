//! What has been written elsewhere while a node was out, and so is out of date
//! on the node itself.
//!
//! Only remembers; `recovery` puts it right.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::sync::lock;

/// More than this many keys are not remembered one by one.
const MOST: usize = 65_536;

/// The keys of those writes.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Entries>);

/// What a journal holds.
#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) keys: HashSet<String>,
    /// There were too many: everything may be out of date.
    pub(crate) everything: bool,
}

impl Journal {
    /// Notes a write to another node, before it happens.
    pub(crate) fn note(&self, key: &str) {
        let mut entries = lock(&self.0);
        if entries.keys.contains(key) {
            return;
        }
        if entries.keys.len() >= MOST {
            entries.everything = true;
        } else {
            entries.keys.insert(key.to_owned());
        }
    }

    /// Takes out everything noted so far.
    pub(crate) fn take(&self) -> Entries {
        std::mem::take(&mut lock(&self.0))
    }

    /// Puts back what could not be put right.
    pub(crate) fn put_back(&self, old: Entries) {
        let mut entries = lock(&self.0);
        entries.everything |= old.everything;
        entries.keys.extend(old.keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_keys_are_all_keys() {
        let journal = Journal::default();
        for i in 0..MOST {
            journal.note(&i.to_string());
        }
        journal.note("0");
        let entries = journal.take();
        assert!(!entries.everything);
        journal.put_back(entries);
        journal.note("one more");
        assert!(journal.take().everything);
        assert!(!journal.take().everything);
    }
}
