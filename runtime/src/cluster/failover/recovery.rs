//! How a node that is out comes back: it is probed, what this process has
//! written elsewhere in the meantime is removed from it, and what it has kept
//! is told from what will be written, before it is asked again.

use std::time::{Duration, Instant};

use crate::cluster::failover::journal::Entries;
use crate::cluster::failover::watermark::Survey;
use crate::error::Error;
use crate::exchange::{Guard, Outcome, Request, Verb};
use crate::net::connection::Connection;
use crate::node::Node;
use crate::node::prober::Probed;
use crate::server::Failover;
use crate::time::budget::{Budget, Deadline};

/// A probe takes no longer than this, and neither does a batch of removals.
const PROBE: Duration = Duration::from_millis(250);
/// Removals that are sent at once.
const BATCH: usize = 1_000;

impl Probed for Node {
    fn probe_at(&self) -> Option<Instant> {
        self.breaker.probe_at()
    }

    fn probe(&self) {
        let answered = Connection::dial(&self.endpoint, limit()).and_then(|mut connection| {
            self.tell(&mut connection, &[Request::Version], limit())?;
            if self.breaker.is_nearly_closed() {
                self.catch_up(&mut connection)?;
            }
            Ok(connection)
        });
        self.breaker.probed(answered.is_ok(), Instant::now());
        if let Ok(mut connection) = answered
            && self.is_up()
        {
            // Calls that had begun before may have written elsewhere since.
            let _ = self.remove_noted(&mut connection);
        }
    }
}

fn limit() -> Deadline {
    Budget::new(PROBE, PROBE).deadline()
}

impl Node {
    fn catch_up(&self, connection: &mut Connection) -> Result<(), Error> {
        if self.failover == Failover::None {
            return Ok(());
        }
        self.remove_noted(connection)?;
        let survey = Survey::new();
        self.mark.set(Survey::number(self.hear(connection, &survey.requests(), limit())?)?);
        Ok(())
    }

    fn remove_noted(&self, connection: &mut Connection) -> Result<(), Error> {
        let entries = self.journal.take();
        self.remove(connection, &entries).inspect_err(|_| self.journal.put_back(entries))
    }

    fn remove(&self, connection: &mut Connection, entries: &Entries) -> Result<(), Error> {
        if entries.everything {
            return self.tell(connection, &[Request::FlushAll { delay: Duration::ZERO }], limit());
        }
        let keys: Vec<&String> = entries.keys.iter().collect();
        for keys in keys.chunks(BATCH) {
            let requests: Vec<_> = keys.iter().map(|key| Request::Delete { key, guard: Guard::None }).collect();
            self.tell(connection, &requests, limit())?;
        }
        Ok(())
    }

    /// Asks for things that are all to be done.
    fn tell(&self, connection: &mut Connection, requests: &[Request<'_>], deadline: Deadline) -> Result<(), Error> {
        self.hear(connection, requests, deadline)?.into_iter().try_for_each(|outcome| outcome.map(drop))
    }

    fn hear(
        &self,
        connection: &mut Connection,
        requests: &[Request<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, Error> {
        let (endpoint, verb) = (&self.endpoint, Verb::Version);
        let tickets = self.say(connection, requests, verb, deadline)?;
        let receive = |ticket| {
            let answer = connection.receive(endpoint, ticket, verb, deadline)?;
            Ok(answer.map_err(|kind| endpoint.failed(verb, kind)))
        };
        tickets.into_iter().map(receive).collect()
    }
}
