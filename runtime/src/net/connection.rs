//! A blocking connection: requests out, replies in, within a time limit.
//!
//! A connection that has failed in any way must not be used again; that is for
//! `node` and `pool` to see to.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::exchange::{Request, Verb};
use crate::net::endpoint::Endpoint;
use crate::net::socket::{self, Socket, rounded};
use crate::protocol::{Answer, Dialect, GOODBYE, Session, Ticket};
use crate::time::budget::Deadline;

/// A connection idle for longer is looked at before it is used.
pub(crate) const SHORT_IDLE: Duration = Duration::from_millis(100);

/// A connection that is ready for requests.
pub(crate) struct Connection {
    socket: Box<dyn Socket>,
    peer: Option<SocketAddr>,
    session: Session,
    limit: Duration,
    /// When the last exchange began.
    used: Instant,
}

impl Connection {
    /// Opens a connection and, where that is needed, says who is asking and
    /// finds out what the server speaks.
    pub(crate) fn dial(endpoint: &Endpoint, deadline: Deadline) -> Result<Box<Self>, Error> {
        match Self::open(endpoint, endpoint.dialect().unwrap_or(Dialect::Meta), deadline) {
            // Proxies hang up on a command that they do not know.
            Err(error) if error.kind() == ErrorKind::Io && endpoint.dialect().is_none() => {
                Self::open(endpoint, Dialect::Classic, deadline)
            }
            opened => opened,
        }
        .map(Box::new)
    }

    fn open(endpoint: &Endpoint, dialect: Dialect, deadline: Deadline) -> Result<Self, Error> {
        let (socket, peer) = socket::open(endpoint, deadline)?;
        let session = Session::new(dialect);
        let mut connection = Connection { socket, peer, session, limit: Duration::ZERO, used: deadline.begun() };
        let verb = Verb::Version;
        let tickets = endpoint.greet(&mut connection.session)?;
        connection.flush(endpoint, verb, deadline)?;
        for ticket in tickets {
            // Whatever it says, it says so in this dialect.
            let _ = connection.receive(endpoint, ticket, verb, deadline)?;
        }
        connection.rest(endpoint, verb, deadline)?;
        endpoint.speaks(connection.session.dialect());
        Ok(connection)
    }

    /// Whether an idle connection is still one. Without numbers, what has been
    /// said unasked would be taken for the next reply, so that is looked at
    /// every time.
    pub(crate) fn is_usable(&mut self, endpoint: &Endpoint, deadline: Deadline) -> bool {
        let is_recent = deadline.begun().saturating_duration_since(self.used) < SHORT_IDLE;
        let is_numbered = self.session.dialect() == Dialect::Meta;
        endpoint.is_at(self.peer) && ((is_recent && is_numbered) || self.socket.is_quiet())
    }

    /// Puts a request behind those that are to be sent.
    pub(crate) fn write(&mut self, endpoint: &Endpoint, request: &Request<'_>) -> Result<Ticket, Error> {
        self.session.write(request).map_err(|_| endpoint.failed(request.verb(), ErrorKind::Rejected))
    }

    /// Sends what has been written.
    pub(crate) fn flush(&mut self, endpoint: &Endpoint, verb: Verb, deadline: Deadline) -> Result<(), Error> {
        let mut sent = 0;
        while sent < self.session.output().len() {
            let left = deadline.left().ok_or_else(|| match sent {
                0 => endpoint.out_of_time(),
                _ => endpoint.failed(verb, ErrorKind::Timeout),
            })?;
            self.limit(endpoint, left, deadline)?;
            match self.socket.write(&self.session.output()[sent..]) {
                Ok(0) => return Err(endpoint.failed(verb, ErrorKind::Io)),
                Ok(bytes) => sent += bytes,
                Err(error) => recover(endpoint, verb, error)?,
            }
        }
        self.socket.flush().or_else(|error| recover(endpoint, verb, error))?;
        self.session.sent();
        Ok(())
    }

    /// Reads the next reply.
    pub(crate) fn receive(
        &mut self,
        endpoint: &Endpoint,
        ticket: Ticket,
        verb: Verb,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        loop {
            match self.session.reply(ticket) {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {}
                Err(malformed) => return Err(endpoint.failed(verb, malformed.0)),
            }
            let left = deadline.left().ok_or_else(|| endpoint.failed(verb, ErrorKind::Timeout))?;
            self.limit(endpoint, left, deadline)?;
            match self.socket.read(self.session.space()) {
                Ok(0) => return Err(endpoint.failed(verb, ErrorKind::Io)),
                Ok(bytes) => self.session.received(bytes),
                Err(error) => recover(endpoint, verb, error)?,
            }
        }
    }

    /// Ends an exchange, after which there may be another.
    ///
    /// # Errors
    ///
    /// If there is more than the replies: then nobody knows which of it they
    /// were.
    pub(crate) fn rest(&mut self, endpoint: &Endpoint, verb: Verb, deadline: Deadline) -> Result<(), Error> {
        self.used = deadline.begun();
        if self.session.is_drained() { Ok(()) } else { Err(endpoint.failed(verb, ErrorKind::Protocol)) }
    }

    /// Says goodbye, as far as that takes no time.
    pub(crate) fn quit(mut self) {
        let _ = self.socket.write(GOODBYE);
    }

    /// Sees to it that the next call on the socket takes no longer.
    fn limit(&mut self, endpoint: &Endpoint, left: Duration, deadline: Deadline) -> Result<(), Error> {
        self.socket.until(deadline.instant());
        let limit = rounded(left);
        if limit != self.limit {
            self.socket.limit(limit).map_err(|error| socket::unconnected(endpoint, error))?;
            self.limit = limit;
        }
        Ok(())
    }
}

/// An error of the socket's, unless it is none.
fn recover(endpoint: &Endpoint, verb: Verb, error: io::Error) -> Result<(), Error> {
    match error.kind() {
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Err(endpoint.failed(verb, ErrorKind::Timeout)),
        _ => Err(socket::broken(endpoint, verb, error)),
    }
}
