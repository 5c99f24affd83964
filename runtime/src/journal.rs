//! What has been written elsewhere while a node was out, and so is out of date
//! on the node itself.

use std::collections::HashMap;
use std::sync::{Mutex, Weak};

use crate::node::Node;
use crate::sync::lock;

/// More than this many keys are not remembered one by one.
const MOST: usize = 65_536;

/// The keys, with where they were written.
#[derive(Default)]
pub(crate) struct Journal(Mutex<Entries>);

#[derive(Default)]
pub(crate) struct Entries {
    pub(crate) keys: HashMap<String, Weak<Node>>,
    /// There were too many: everything may be out of date.
    pub(crate) everything: bool,
}

impl Journal {
    /// Takes note, before it happens, of a write to another node.
    pub(crate) fn note(&self, key: &str, elsewhere: &Weak<Node>) {
        let mut entries = lock(&self.0);
        if entries.keys.len() >= MOST && !entries.keys.contains_key(key) {
            entries.everything = true;
        } else {
            entries.keys.insert(key.to_owned(), elsewhere.clone());
        }
    }

    /// Everything noted so far, which is no longer here then.
    pub(crate) fn take(&self) -> Entries {
        std::mem::take(&mut lock(&self.0))
    }

    /// Puts back what could not be put right.
    pub(crate) fn put_back(&self, old: Entries) {
        let mut entries = lock(&self.0);
        entries.everything |= old.everything;
        for (key, elsewhere) in old.keys {
            entries.keys.entry(key).or_insert(elsewhere);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_keys_are_all_keys() {
        let journal = Journal::default();
        for i in 0..MOST {
            journal.note(&i.to_string(), &Weak::new());
        }
        journal.note("0", &Weak::new());
        let entries = journal.take();
        assert!(!entries.everything);
        journal.put_back(entries);
        journal.note("one more", &Weak::new());
        assert!(journal.take().everything);
        assert!(!journal.take().everything);
    }
}
