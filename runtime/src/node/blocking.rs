//! Exchanges of blocking callers with a node: one request, or several at once.
//!
//! Takes the connections out of the node's pool; whether the node is asked at
//! all is for `mod` to say.

use std::time::Instant;

use super::{Node, answered, fill, may_ask_again, verb_of};
use crate::error::Error;
use crate::exchange::{Outcome, Request};
use crate::net::connection::Connection;
use crate::net::fault::{Fault, Verdict};
use crate::node::breaker::Admission;
use crate::node::pool::Permit;
use crate::protocol::{Answer, Ticket};
use crate::time::budget::Deadline;

/// The right to have one of the pool's connections open.
type PoolPermit<'a> = Permit<'a, Box<Connection>>;

/// A connection that can be sent on at once, and the right to have it open.
pub(crate) struct Standby<'a> {
    permit: PoolPermit<'a>,
    connection: Box<Connection>,
}

/// Requests of which the first have been sent, and whose replies are still to be read.
pub(crate) struct Pending<'a> {
    node: &'a Node,
    admission: Admission,
    sent: Sent<'a>,
    requests: &'a [Request<'a>],
    outcomes: Vec<Outcome>,
}

/// What the replies are read from.
struct Sent<'a> {
    permit: PoolPermit<'a>,
    connection: Box<Connection>,
    /// For what has been sent so far.
    tickets: Vec<Ticket>,
    /// Whether the connection was idle, and so may have broken before.
    was_idle: bool,
}

impl Node {
    /// Sends one request and reads its reply.
    pub(crate) fn ask(&self, request: &Request<'_>, deadline: Deadline) -> Outcome {
        request.check(self.endpoint.access.item_limit)?;
        let admission = self.admit(deadline)?;
        let answer = self.exchange(request, deadline).and_then(|answer| answer.map_err(Fault::from));
        self.settle(admission, request.verb(), answer)
    }

    /// Asks several things at once. Their keys and values have been checked.
    pub(crate) fn ask_all(&self, requests: &[Request<'_>], deadline: Deadline) -> Result<Vec<Outcome>, Error> {
        Ok(self.begin(None, requests, deadline)?.finish(deadline))
    }

    /// Asks several things at once on a connection that is not the pool's.
    pub(crate) fn ask_on(
        &self,
        connection: &mut Connection,
        requests: &[Request<'_>],
        deadline: Deadline,
    ) -> Result<Vec<Outcome>, Error> {
        let verb = verb_of(requests);
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut exchange = || {
            while outcomes.len() < requests.len() {
                for ticket in connection.send(&requests[outcomes.len()..], deadline)? {
                    outcomes.push(self.outcome(verb, Ok(connection.receive(ticket, deadline)?)));
                }
            }
            connection.rest(deadline)
        };
        exchange().map_err(|fault| self.worded(verb, fault))?;
        Ok(outcomes)
    }

    /// Asks once, and once more if an idle connection has broken.
    fn exchange(&self, request: &Request<'_>, deadline: Deadline) -> Result<Answer, Fault> {
        let (mut permit, idle) = self.checkout(deadline)?;
        if let Some(idle) = idle {
            let answer = converse(idle, request, deadline, permit);
            if !answer.as_ref().is_err_and(|fault| may_ask_again(fault, &[*request])) {
                return answer;
            }
            // The server was restarted, so the others are broken too.
            self.pool.clear();
            permit = self.checkout(deadline)?.0;
        }
        let answer = self.dial(deadline).and_then(|fresh| converse(fresh, request, deadline, permit));
        match answer {
            // One of ours that works is waited for, if there is any.
            Err(fault) if fault.trouble.verdict() == Verdict::Full && self.pool.make_do() => {
                let (permit, idle) = self.checkout(deadline)?;
                converse(idle.ok_or(fault)?, request, deadline, permit)
            }
            answer => answer,
        }
    }

    /// Takes the right to have a connection open, and an idle one that works if there is one.
    fn checkout(&self, deadline: Deadline) -> Result<(PoolPermit<'_>, Option<Box<Connection>>), Fault> {
        let permit = match self.pool.try_checkout() {
            Some(permit) => permit,
            None => {
                let since = Instant::now();
                self.waited(since, self.pool.checkout(deadline.left().unwrap_or_default()))?
            }
        };
        Ok(self.usable(permit, deadline))
    }

    /// Opens a connection.
    fn dial(&self, deadline: Deadline) -> Result<Box<Connection>, Fault> {
        let since = Instant::now();
        let connection = Connection::dial(&self.endpoint, deadline)?;
        self.observer.opened(since.elapsed());
        Ok(connection)
    }

    /// Returns the permit, and its idle connection if that works.
    fn usable<'a>(
        &'a self,
        mut permit: PoolPermit<'a>,
        deadline: Deadline,
    ) -> (PoolPermit<'a>, Option<Box<Connection>>) {
        let mut idle = permit.idle.take();
        if idle.as_mut().is_some_and(|idle| !idle.is_usable(&self.endpoint, deadline)) {
            // The server was restarted or has moved, so the others are of no
            // use either.
            idle = None;
            self.pool.clear();
        }
        (permit, idle)
    }

    /// Takes a connection to send on without waiting, if there is one.
    pub(crate) fn standby(&self, deadline: Deadline) -> Option<Standby<'_>> {
        let (permit, idle) = self.usable(self.pool.try_checkout()?, deadline);
        Some(Standby { permit, connection: idle? })
    }

    /// Sends the first of several requests. Their keys and values have been checked.
    pub(crate) fn begin<'a>(
        &'a self,
        standby: Option<Standby<'a>>,
        requests: &'a [Request<'a>],
        deadline: Deadline,
    ) -> Result<Pending<'a>, Error> {
        let admission = self.admit(deadline)?;
        match self.send(standby, requests, deadline) {
            Ok(sent) => {
                Ok(Pending { node: self, admission, sent, requests, outcomes: Vec::with_capacity(requests.len()) })
            }
            Err(fault) => self.settle(admission, verb_of(requests), Err(fault)),
        }
    }

    /// Sends, and once more if an idle connection has broken.
    fn send<'a>(
        &'a self,
        standby: Option<Standby<'a>>,
        requests: &[Request<'_>],
        deadline: Deadline,
    ) -> Result<Sent<'a>, Fault> {
        let (permit, idle) = match standby {
            Some(Standby { permit, connection }) => (permit, Some(connection)),
            None => self.checkout(deadline)?,
        };
        if let Some(mut connection) = idle {
            match connection.send(requests, deadline) {
                Ok(tickets) => return Ok(Sent { permit, connection, tickets, was_idle: true }),
                Err(fault) if !may_ask_again(&fault, requests) => return Err(fault),
                Err(_) => self.pool.clear(),
            }
        }
        let mut connection = self.dial(deadline)?;
        let tickets = connection.send(requests, deadline)?;
        Ok(Sent { permit, connection, tickets, was_idle: false })
    }
}

/// Carries out one exchange on a connection, which goes back to the pool if all is well.
fn converse(
    mut connection: Box<Connection>,
    request: &Request<'_>,
    deadline: Deadline,
    permit: PoolPermit<'_>,
) -> Result<Answer, Fault> {
    let ticket = connection.send_one(request, deadline)?;
    let answer = answered(request, connection.receive(ticket, deadline)?)?;
    connection.rest(deadline)?;
    permit.give_back(connection);
    Ok(answer)
}

impl Pending<'_> {
    /// Whether there are replies that have not come by then.
    pub(crate) fn is_late(&mut self, by: Deadline) -> bool {
        self.read(by).is_err()
    }

    /// Reads the replies, in the order of the requests. If the connection
    /// fails on the way, the rest have its error.
    pub(crate) fn finish(mut self, deadline: Deadline) -> Vec<Outcome> {
        let mut read = self.read(deadline);
        let again = self.sent.was_idle && self.outcomes.is_empty();
        if again && read.as_ref().is_err_and(|fault| may_ask_again(fault, self.requests)) {
            read = self.ask_again(deadline);
        }
        if read.is_ok() {
            read = self.sent.connection.rest(deadline).inspect_err(|_| self.outcomes.clear());
        }
        let read = self.node.settle(self.admission, verb_of(self.requests), read);
        match read {
            Err(error) => fill(&mut self.outcomes, self.requests.len(), error),
            Ok(()) => self.sent.permit.give_back(self.sent.connection),
        }
        self.outcomes
    }

    /// Reads the replies that are still missing, and sends what has not been sent yet.
    fn read(&mut self, deadline: Deadline) -> Result<(), Fault> {
        let (verb, Sent { connection, tickets, .. }) = (verb_of(self.requests), &mut self.sent);
        while let Some(request) = self.requests.get(self.outcomes.len()) {
            let Some(ticket) = tickets.get(self.outcomes.len()) else {
                tickets.extend(connection.send(&self.requests[tickets.len()..], deadline)?);
                continue;
            };
            let answer = answered(request, connection.receive(*ticket, deadline)?)?;
            self.outcomes.push(self.node.outcome(verb, Ok(answer)));
        }
        Ok(())
    }

    /// Asks once more, on a new connection.
    fn ask_again(&mut self, deadline: Deadline) -> Result<(), Fault> {
        let (node, sent) = (self.node, &mut self.sent);
        node.pool.clear();
        sent.connection = node.dial(deadline)?;
        sent.tickets = sent.connection.send(self.requests, deadline)?;
        self.read(deadline)
    }
}
