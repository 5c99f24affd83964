//! How a member that is out comes back: it is probed, what this process has
//! written elsewhere in the meantime is removed from it, and what it has kept
//! is told from what will be written, before it is asked again.
//!
//! When to probe is the breaker's to say, and the prober's to do.

use std::time::{Duration, Instant};

use crate::cluster::failover::journal::Noted;
use crate::cluster::failover::watermark::Survey;
use crate::cluster::members::Member;
use crate::error::Error;
use crate::exchange::{Guard, Request};
use crate::net::connection::Connection;
use crate::node::prober::Probed;
use crate::server::Failover;
use crate::time::budget::{Budget, Deadline};

/// A probe takes no longer than this, and neither does a batch of removals.
const PROBE: Duration = Duration::from_millis(250);
/// Removals that are sent at once.
const BATCH: usize = 1_000;

impl Probed for Member {
    fn probe_at(&self) -> Option<Instant> {
        self.node.breaker.probe_at()
    }

    fn probe(&self) {
        let dialled = Connection::dial(&self.node.endpoint, limit()).ok();
        let answered = dialled.and_then(|mut connection| self.greet(&mut connection).ok().map(|()| connection));
        let is_back = self.node.breaker.probed(answered.is_some(), Instant::now());
        if let Some(mut connection) = answered
            && is_back
        {
            self.peer.announce_back();
            // Calls that had begun before may have written elsewhere since.
            let _ = self.remove_noted(&mut connection);
        }
    }
}

/// Returns the limit of one step, from now on.
fn limit() -> Deadline {
    Budget::new(PROBE, PROBE).deadline()
}

impl Member {
    /// Asks whether the server answers, and puts it right if it is about to be
    /// asked again.
    fn greet(&self, connection: &mut Connection) -> Result<(), Error> {
        self.tell(connection, &[Request::Version])?;
        if self.node.breaker.is_nearly_closed() { self.catch_up(connection) } else { Ok(()) }
    }

    /// Puts the server right, and marks what it has.
    fn catch_up(&self, connection: &mut Connection) -> Result<(), Error> {
        if self.failover == Failover::None {
            return Ok(());
        }
        self.remove_noted(connection)?;
        let survey = Survey::new();
        self.watermark.set(Survey::number(self.node.ask_on(connection, &survey.requests(), limit())?)?);
        Ok(())
    }

    /// Removes what the journal has; what remains goes back into it.
    fn remove_noted(&self, connection: &mut Connection) -> Result<(), Error> {
        let entries = self.journal.take();
        self.remove(connection, &entries).inspect_err(|_| self.journal.put_back(entries))
    }

    /// Removes these entries from the server.
    fn remove(&self, connection: &mut Connection, entries: &Noted) -> Result<(), Error> {
        let keys: Vec<&String> = entries.iter().collect();
        for keys in keys.chunks(BATCH) {
            let requests: Vec<_> = keys.iter().map(|key| Request::Delete { key, guard: Guard::None }).collect();
            self.tell(connection, &requests)?;
        }
        Ok(())
    }

    /// Asks for things that must all be done.
    fn tell(&self, connection: &mut Connection, requests: &[Request<'_>]) -> Result<(), Error> {
        let outcomes = self.node.ask_on(connection, requests, limit())?;
        outcomes.into_iter().try_for_each(|outcome| outcome.map(drop))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::{Memcached, until};
    use crate::net::endpoint::{Access, Endpoint};
    use crate::node::breaker::Pauses;

    /// How many threads of this process probe, where that can be seen.
    fn probing() -> Option<usize> {
        let threads = std::fs::read_dir("/proc/self/task").ok()?.map_while(Result::ok);
        let names = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
        Some(names.filter(|name| name.starts_with("memocached-prob")).count())
    }

    #[test]
    fn one_thread_probes_all_servers_and_finds_each_that_is_back() {
        let mut servers: Vec<_> = (0..6).map(|_| Memcached::start()).collect();
        let pauses = Pauses { first: Duration::from_millis(50), longest: Duration::from_millis(50) };
        let member = |server: &Memcached| {
            let endpoint = Endpoint::new(server.address().parse().expect("an address"), Access::default());
            Member::new(endpoint, 1, pauses, Failover::None)
        };
        let members: Vec<_> = servers.iter().map(member).collect();
        servers.iter_mut().for_each(Memcached::kill);
        for member in &members {
            assert!(member.node.ask(&Request::Version, limit()).is_err() && !member.node.is_up());
        }
        assert!(probing().is_none_or(|threads| threads <= 1), "{:?}", probing());
        let servers: Vec<_> = servers.iter().map(|server| Memcached::restart(server.port)).collect();
        until("all to be asked again", || members.iter().all(|member| member.node.is_up()).then_some(()));
        drop(servers);
    }

    #[test]
    fn however_much_was_written_elsewhere_others_keep_what_they_have() {
        let server = Memcached::start();
        let endpoint = Endpoint::new(server.address().parse().expect("an address"), Access::default());
        let member = Member::new(endpoint, 1, Pauses::default(), Failover::Next);
        for key in ["anothers", "noted:1", "noted:69999"] {
            server.store(key, 0, b"value");
        }
        (0..70_000).for_each(|i| member.journal.note(&format!("noted:{i}")));
        // A batch may take longer than its limit where the machine is busy.
        let caught_up = (0..100).find_map(|_| {
            let mut connection = Connection::dial(&member.node.endpoint, limit()).ok()?;
            member.catch_up(&mut connection).ok()
        });
        assert!(caught_up.is_some());
        assert!(server.stored("anothers").is_some() && server.stored("noted:1").is_none());
        assert_eq!(server.stat("cmd_flush"), 0);
        // What was not remembered has a number from before.
        assert!(member.watermark.is_set());
    }
}
