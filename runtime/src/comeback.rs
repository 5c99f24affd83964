//! How a node that is out comes back: it is probed, and what has been written
//! elsewhere in the meantime is removed from it before it is asked again.

use std::sync::Weak;
use std::time::{Duration, Instant};

use crate::budget::{Budget, Deadline};
use crate::connection::Connection;
use crate::error::Error;
use crate::exchange::{Guard, Request, Verb};
use crate::journal::Entries;
use crate::node::Node;
use crate::prober::Probed;

/// A probe takes no longer than this, and neither does a batch of removals.
const PROBE: Duration = Duration::from_millis(250);
/// Removals that are sent at once.
const BATCH: usize = 1_000;

impl Probed for Node {
    fn probe_at(&self) -> Option<Instant> {
        self.breaker.probe_at()
    }

    fn probe(&self) {
        let deadline = Budget::new(PROBE, PROBE).deadline();
        let mut elsewhere = Vec::new();
        let answered = Connection::dial(&self.endpoint, deadline).and_then(|mut connection| {
            self.tell(&mut connection, &[Request::Version], deadline)?;
            if self.breaker.is_nearly_closed() {
                elsewhere = self.catch_up(&mut connection)?;
            }
            Ok(())
        });
        self.breaker.probed(answered.is_ok(), Instant::now());
        elsewhere.into_iter().for_each(forget);
    }
}

/// A node and the keys that were written there.
type Elsewhere = (Weak<Node>, Vec<String>);

/// The values that were put on other nodes for one that is back.
fn forget((node, keys): Elsewhere) {
    let Some(node) = node.upgrade() else { return };
    for keys in keys.chunks(BATCH) {
        let requests: Vec<_> = keys.iter().map(|key| removal(key)).collect();
        let deadline = Budget::new(PROBE, PROBE).deadline();
        // What cannot be removed ends with its ttl.
        let _ = node.begin(None, &requests, deadline).map(|pending| pending.finish(deadline));
    }
}

fn removal(key: &str) -> Request<'_> {
    Request::Delete { key, guard: Guard::None }
}

impl Node {
    /// Removes what is out of date here; gives what is elsewhere, by node.
    fn catch_up(&self, connection: &mut Connection) -> Result<Vec<Elsewhere>, Error> {
        let entries = self.journal.take();
        let done = self.remove(connection, &entries);
        if let Err(error) = done {
            self.journal.put_back(entries);
            return Err(error);
        }
        let mut elsewhere: Vec<Elsewhere> = Vec::new();
        for (key, node) in entries.keys {
            match elsewhere.iter_mut().find(|(other, _)| other.ptr_eq(&node)) {
                Some((_, keys)) => keys.push(key),
                None => elsewhere.push((node, vec![key])),
            }
        }
        Ok(elsewhere)
    }

    fn remove(&self, connection: &mut Connection, entries: &Entries) -> Result<(), Error> {
        let deadline = || Budget::new(PROBE, PROBE).deadline();
        if entries.everything {
            return self.tell(connection, &[Request::FlushAll { delay: Duration::ZERO }], deadline());
        }
        let keys: Vec<&String> = entries.keys.keys().collect();
        for keys in keys.chunks(BATCH) {
            let requests: Vec<_> = keys.iter().map(|key| removal(key)).collect();
            self.tell(connection, &requests, deadline())?;
        }
        Ok(())
    }

    fn tell(&self, connection: &mut Connection, requests: &[Request<'_>], deadline: Deadline) -> Result<(), Error> {
        let (endpoint, verb) = (&self.endpoint, Verb::Version);
        for ticket in self.say(connection, requests, verb, deadline)? {
            connection.receive(endpoint, ticket, verb, deadline)?.map_err(|kind| endpoint.failed(verb, kind))?;
        }
        Ok(())
    }
}
