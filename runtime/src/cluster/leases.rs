//! Leases in the classic protocol, which has none: a caller that finds nothing adds an
//! empty item with a note of its own, as a holder leaves one that renews a lease.
//!
//! A caller that reads its own note back has the lease, under the number that comes with it.

use std::time::Duration;

use crate::error::Error;
use crate::exchange::{Grant, Guard, Note, Outcome, Reply, Request, Ttl, Write};
use crate::node::Node;
use crate::protocol::Dialect;

/// Leases that are asked for, because lookups have found nothing.
pub(super) struct Leases<'a> {
    /// The index of each lookup, its key, and the note to leave.
    asked: Vec<(usize, &'a str, Duration, Note)>,
}

impl<'a> Leases<'a> {
    /// Returns the leases that these lookups are to get, if their node speaks the classic protocol.
    pub(super) fn of(node: &Node, requests: &[Request<'a>], outcomes: &[Outcome]) -> Option<Self> {
        if node.endpoint.dialect() != Some(Dialect::Classic) {
            return None;
        }
        let lookups = requests.iter().zip(outcomes).enumerate().filter_map(|(index, pair)| match pair {
            (Request::Lookup { key, lease, .. }, Ok(Reply::Missing(Grant::Free))) => {
                Some((index, *key, *lease, Note::new(None)))
            }
            _ => None,
        });
        let asked: Vec<_> = lookups.collect();
        (!asked.is_empty()).then_some(Leases { asked })
    }

    pub(super) fn requests(&self) -> Vec<Request<'a>> {
        let ask = |(_, key, lease, note): &(usize, &'a str, Duration, Note)| {
            let (key, flags, ttl, guard) = (*key, note.flags(), Ttl::For(*lease), Guard::None);
            let add = Request::Store { key, value: &[], flags, ttl, how: Write::Add, guard };
            [add, Request::Peek { key }]
        };
        self.asked.iter().flat_map(ask).collect()
    }

    /// Puts what was read back in place of the outcomes of the lookups.
    pub(super) fn grant(&self, replies: Result<Vec<Outcome>, Error>, outcomes: &mut [Outcome]) {
        let mut replies = replies.map(Vec::into_iter);
        for (index, _, _, note) in &self.asked {
            let read = match &mut replies {
                Ok(replies) => replies.nth(1),
                Err(error) => Some(Err(error.alike())),
            };
            outcomes[*index] = match read {
                None => continue,
                Some(Ok(Reply::Missing(Grant::Lost { cas, note: Some(found) }))) if found == *note => {
                    Ok(Reply::Missing(Grant::Won(cas)))
                }
                Some(read) => read,
            };
        }
    }
}
