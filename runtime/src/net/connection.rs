//! A blocking connection: requests out, replies in, within a time limit.
//!
//! A connection that has failed in any way must not be used again; `node` and
//! `pool` see to that.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::error::ErrorKind;
use crate::exchange::{Numbering, Request, portion};
use crate::net::endpoint::Endpoint;
use crate::net::fault::{Fault, Trouble};
use crate::net::socket;
use crate::net::stream::{STEP, Socket, rounded};
use crate::protocol::{Answer, Dialect, GOODBYE, RequestNumbers, Session, Ticket};
use crate::time::budget::Deadline;

/// A connection that has been idle for longer is checked before it is used.
pub(crate) const SHORT_IDLE: Duration = Duration::from_millis(100);

/// The shortest time to look for replies.
const LOOK: Duration = Duration::from_millis(1);

/// A connection that is ready for requests.
pub(crate) struct Connection {
    socket: Box<dyn Socket>,
    peer: Option<SocketAddr>,
    session: Session,
    /// The time limit that the socket has been given.
    limit: Duration,
    /// Whether the server has less than a fair share of time for what was sent last.
    is_hurried: bool,
    /// Whether an exchange has begun and not ended.
    is_under_way: bool,
    /// When the time for what was sent last was found to be over.
    overdue: Option<Instant>,
    /// When the last exchange began.
    used: Instant,
}

impl Connection {
    /// Opens a connection and greets the server, where that is needed: names
    /// the user, and finds out what the server speaks.
    pub(crate) fn dial(endpoint: &Endpoint, deadline: Deadline) -> Result<Box<Self>, Fault> {
        match Self::open(endpoint, endpoint.dialect().unwrap_or(Dialect::Meta), deadline) {
            // Proxies hang up on a command that they do not know.
            Err(fault) if fault.kind() == ErrorKind::Io && endpoint.may_be_classic() => {
                Self::open(endpoint, Dialect::Classic, deadline)
            }
            opened => opened,
        }
        .map(Box::new)
    }

    /// Opens a connection in this dialect.
    fn open(endpoint: &Endpoint, dialect: Dialect, deadline: Deadline) -> Result<Self, Fault> {
        let (socket, peer) = socket::open(endpoint, deadline)?;
        let session = Session::new(dialect, RequestNumbers::unique(), endpoint.lives.clone());
        let (limit, used) = (Duration::ZERO, deadline.begun());
        let mut connection =
            Connection { socket, peer, session, limit, is_hurried: false, is_under_way: false, overdue: None, used };
        let tickets = endpoint.greet(&mut connection.session)?;
        connection.greet(tickets, deadline).map_err(Fault::in_greeting)?;
        endpoint.speaks(connection.session.dialect());
        Ok(connection)
    }

    /// Sends the greeting and reads what the server says to it.
    fn greet(&mut self, tickets: Vec<Ticket>, deadline: Deadline) -> Result<(), Fault> {
        self.flush(deadline)?;
        for ticket in tickets {
            // Whatever it says, it says so in this dialect.
            let _ = self.receive(ticket, deadline)?;
        }
        self.rest(deadline)
    }

    /// Whether an idle connection still is one. Without numbers, what the
    /// server has said unasked would be taken for the next reply, so there the
    /// socket is checked each time.
    pub(crate) fn is_usable(&mut self, endpoint: &Endpoint, deadline: Deadline) -> bool {
        let is_recent = deadline.begun().saturating_duration_since(self.used) < SHORT_IDLE;
        let is_numbered = self.session.dialect() == Dialect::Meta;
        let is_current = endpoint.is_at(self.peer) && self.session.is_of_this_life();
        is_current && ((is_recent && is_numbered) || self.socket.is_quiet())
    }

    /// Finds out which life the server is in, unless that is known or does not matter. It
    /// is asked together with what is written next if that waits for nothing.
    pub(crate) fn learn_life(&mut self, numbering: Numbering, deadline: Deadline) -> Result<(), Fault> {
        match self.session.ask_life(numbering) {
            Some(ticket) => self.greet(vec![ticket], deadline).map_err(Fault::in_greeting),
            None => Ok(()),
        }
    }

    /// Sends a request.
    pub(crate) fn send_one(&mut self, request: &Request<'_>, deadline: Deadline) -> Result<Ticket, Fault> {
        self.learn_life(request.numbering(), deadline)?;
        let ticket = self.session.write(request)?;
        self.flush(deadline)?;
        Ok(ticket)
    }

    /// Sends what has been written. The time that is left where an exchange begins says
    /// whether its server has a fair share.
    fn flush(&mut self, deadline: Deadline) -> Result<(), Fault> {
        let mut sent = 0;
        self.overdue = None;
        while sent < self.session.output().len() {
            let begins = !self.is_under_way;
            let left = deadline.left().ok_or_else(|| if begins { Trouble::OutOfTime.into() } else { self.late() })?;
            if begins {
                self.is_hurried = !deadline.is_fair(left);
                self.is_under_way = true;
            }
            self.limit(left, deadline.instant())?;
            match self.socket.write(&self.session.output()[sent..]) {
                Ok(0) => return Err(ErrorKind::Io.into()),
                Ok(bytes) => sent += bytes,
                Err(error) => self.recover(error)?,
            }
        }
        self.socket.flush().or_else(|error| self.recover(error))?;
        self.session.sent();
        Ok(())
    }

    /// Sends the first of these requests, a portion. Its replies are to be read before the
    /// next is sent.
    pub(crate) fn send(&mut self, requests: &[Request<'_>], deadline: Deadline) -> Result<Vec<Ticket>, Fault> {
        let requests = portion(requests);
        let numbering = requests.iter().map(Request::numbering).max().unwrap_or(Numbering::None);
        self.learn_life(numbering, deadline)?;
        let tickets = self.session.write_all(requests)?;
        self.flush(deadline)?;
        Ok(tickets)
    }

    /// Reads the next reply.
    pub(crate) fn receive(&mut self, ticket: Ticket, deadline: Deadline) -> Result<Answer, Fault> {
        loop {
            if let Some(answer) = self.session.reply(ticket)? {
                return Ok(answer);
            }
            let (now, end) = (Instant::now(), deadline.instant());
            if now + LOOK < end {
                self.limit(end - now, end)?;
                let read = self.socket.read(self.session.space());
                self.received(read)?;
            } else {
                self.read_late(now, end)?;
            }
        }
    }

    /// Reads when the time is over, or nearly. What has arrived by now is read, however late
    /// this thread is itself; for what has not, all replies together are given one more look.
    #[cold]
    fn read_late(&mut self, now: Instant, end: Instant) -> Result<(), Fault> {
        let end = end.max(*self.overdue.get_or_insert(now) + LOOK);
        self.limit(LOOK, now + LOOK)?;
        let space = self.session.space();
        let read = if now < end { self.socket.read(space) } else { self.socket.read_arrived(space) };
        self.received(read)
    }

    /// Takes in what has been read.
    fn received(&mut self, read: io::Result<usize>) -> Result<(), Fault> {
        match read {
            Ok(0) => Err(ErrorKind::Io.into()),
            Ok(bytes) => {
                self.session.received(bytes);
                Ok(())
            }
            Err(error) => self.recover(error),
        }
    }

    /// Ends an exchange, after which there may be another.
    ///
    /// # Errors
    ///
    /// If there is more than the replies: then it is open which part of it they
    /// were.
    pub(crate) fn rest(&mut self, deadline: Deadline) -> Result<(), Fault> {
        (self.used, self.is_under_way) = (deadline.begun(), false);
        if self.session.is_drained() { Ok(()) } else { Err(ErrorKind::Protocol.into()) }
    }

    /// Says goodbye, as far as that takes no time.
    pub(crate) fn quit(mut self) {
        let _ = self.socket.write(GOODBYE);
    }

    /// Limits how long the next call on the socket may take.
    fn limit(&mut self, left: Duration, until: Instant) -> Result<(), Fault> {
        self.socket.until(until);
        if self.limit.checked_sub(left).is_none_or(|more| more >= STEP) {
            let limit = rounded(left);
            self.socket.limit(limit).map_err(Fault::unconnected)?;
            self.limit = limit;
        }
        Ok(())
    }

    /// Returns the fault of a server that has not answered in time.
    fn late(&self) -> Fault {
        if self.is_hurried { Trouble::Hurried.into() } else { ErrorKind::Timeout.into() }
    }

    /// Returns the fault of an error of the socket, unless the error can be ignored.
    fn recover(&self, error: io::Error) -> Result<(), Fault> {
        match error.kind() {
            io::ErrorKind::Interrupted => Ok(()),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Err(self.late().because(error)),
            _ => Err(Fault::broken(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memcached::{Memcached, until};
    use crate::net::endpoint::Access;
    use crate::time::budget::Budget;

    #[test]
    fn a_reply_that_has_arrived_is_read_however_late_and_no_other_is_waited_for() {
        let server = Memcached::start();
        let endpoint = Endpoint::new(server.address().parse().expect("an address"), Access::default());
        let deadline = |limit| Budget::new(limit, limit).deadline();
        let mut connection = Connection::dial(&endpoint, deadline(Duration::from_secs(20))).expect("a connection");
        let ticket = connection.send_one(&Request::Version, deadline(Duration::from_secs(20))).expect("a ticket");
        until("the reply", || (!connection.socket.is_quiet()).then_some(()));
        connection.overdue = Instant::now().checked_sub(2 * LOOK);
        assert!(connection.receive(ticket, deadline(Duration::ZERO)).is_ok());
        let unsent = connection.session.write(&Request::Version).expect("a ticket");
        let fault = connection.receive(unsent, deadline(Duration::ZERO)).err();
        assert_eq!(fault.map(|fault| fault.kind()), Some(ErrorKind::Timeout));
    }
}
