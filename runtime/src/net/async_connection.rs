//! A connection on tokio: requests out, replies in.
//!
//! It belongs to the runtime it was opened on. A connection that has failed in
//! any way, or whose exchange was cancelled, must not be used again; `node` and
//! `async_pool` see to that.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::error::ErrorKind;
use crate::exchange::{Numbering, Request, portion};
use crate::net::connection::SHORT_IDLE;
use crate::net::endpoint::Endpoint;
use crate::net::fault::{Fault, Trouble};
use crate::net::race::{Move, Race};
use crate::net::stream::AsyncSocket;
use crate::protocol::{Answer, Dialect, GOODBYE, RequestNumbers, Session, Ticket};
use crate::server::{Location, Security};
use crate::time::budget::Deadline;
use crate::time::patience::{Patience, now, within};
use crate::time::reminder::Reminder;

/// A connection that is ready for requests.
pub(crate) struct AsyncConnection {
    socket: Box<dyn AsyncSocket>,
    pub(crate) peer: Option<SocketAddr>,
    /// In a box, as connections are moved about.
    session: Box<Session>,
    timer: Reminder,
    /// For the exchange that began last.
    patience: Patience,
    /// Whether that is less than a fair share of time.
    is_hurried: bool,
    /// Whether an exchange has begun and not ended.
    is_under_way: bool,
    /// When the last exchange began.
    used: Instant,
}

impl AsyncConnection {
    /// Opens a connection and greets the server, as the blocking one does.
    pub(crate) async fn dial(endpoint: &Endpoint, deadline: Deadline) -> Result<Self, Fault> {
        match Self::open(endpoint, endpoint.dialect().unwrap_or(Dialect::Meta), deadline).await {
            Err(fault) if fault.kind() == ErrorKind::Io && endpoint.may_be_classic() => {
                Self::open(endpoint, Dialect::Classic, deadline).await
            }
            opened => opened,
        }
    }

    /// Opens a connection in this dialect.
    async fn open(endpoint: &Endpoint, dialect: Dialect, deadline: Deadline) -> Result<Self, Fault> {
        let (socket, peer) = open(endpoint, deadline).await?;
        // The greeting is to be answered, though the runtime was busy until now.
        let deadline = deadline.at_least_fair();
        let timer = Reminder::at(deadline.instant());
        let session = Box::new(Session::new(dialect, RequestNumbers::unique(), endpoint.lives.clone()));
        let patience = Patience::new(Duration::ZERO, deadline.begun());
        let (is_hurried, is_under_way, used) = (false, false, deadline.begun());
        let mut connection = AsyncConnection { socket, peer, session, timer, patience, is_hurried, is_under_way, used };
        let tickets = endpoint.greet(&mut connection.session)?;
        connection.greet(tickets, deadline).await.map_err(Fault::in_greeting)?;
        endpoint.speaks(connection.session.dialect());
        Ok(connection)
    }

    /// Sends the greeting and reads what the server says to it.
    async fn greet(&mut self, tickets: Vec<Ticket>, deadline: Deadline) -> Result<(), Fault> {
        self.flush(deadline).await?;
        for ticket in tickets {
            let _ = self.receive(ticket).await?;
        }
        self.rest(deadline)
    }

    /// Whether an idle connection still is one, as far as that is known without
    /// asking the system.
    pub(crate) fn is_usable(&mut self, endpoint: &Endpoint, deadline: Deadline) -> bool {
        if !endpoint.is_at(self.peer) || !self.session.is_of_this_life() {
            return false;
        }
        let is_recent = deadline.begun().saturating_duration_since(self.used) < SHORT_IDLE;
        if is_recent && self.session.dialect() == Dialect::Meta {
            return true;
        }
        let (context, byte) = (&mut Context::from_waker(Waker::noop()), &mut [0]);
        Pin::new(&mut self.socket).poll_read(context, &mut ReadBuf::new(byte)).is_pending()
    }

    /// Finds out which life the server is in, unless that is known or does not matter. It
    /// is asked together with what is written next if that waits for nothing.
    pub(crate) async fn learn_life(&mut self, numbering: Numbering, deadline: Deadline) -> Result<(), Fault> {
        match self.session.ask_life(numbering) {
            Some(ticket) => self.greet(vec![ticket], deadline).await.map_err(Fault::in_greeting),
            None => Ok(()),
        }
    }

    /// Sends a request.
    pub(crate) async fn send_one(&mut self, request: &Request<'_>, deadline: Deadline) -> Result<Ticket, Fault> {
        self.learn_life(request.numbering(), deadline).await?;
        let ticket = self.session.write(request)?;
        self.flush(deadline).await?;
        Ok(ticket)
    }

    /// Sends what has been written.
    async fn flush(&mut self, deadline: Deadline) -> Result<(), Fault> {
        if self.session.output().is_empty() {
            return Ok(());
        }
        if !self.is_under_way {
            let left = deadline.left().ok_or(Trouble::OutOfTime)?;
            self.patience = Patience::new(left, now());
            self.is_hurried = !deadline.is_fair(left);
            self.is_under_way = true;
        }
        let sending = self.socket.write_all(self.session.output());
        let sent = self.patience.lasts(&mut self.timer, sending).await;
        sent.ok_or_else(|| self.late())?.map_err(Fault::broken)?;
        self.session.sent();
        Ok(())
    }

    /// Sends the first of these requests, as the blocking one does.
    pub(crate) async fn send(&mut self, requests: &[Request<'_>], deadline: Deadline) -> Result<Vec<Ticket>, Fault> {
        let requests = portion(requests);
        let numbering = requests.iter().map(Request::numbering).max().unwrap_or(Numbering::None);
        self.learn_life(numbering, deadline).await?;
        let tickets = self.session.write_all(requests)?;
        self.flush(deadline).await?;
        Ok(tickets)
    }

    /// Reads the next reply.
    pub(crate) async fn receive(&mut self, ticket: Ticket) -> Result<Answer, Fault> {
        let receiving = async {
            loop {
                if let Some(answer) = self.session.reply(ticket)? {
                    return Ok(answer);
                }
                match self.socket.read(self.session.space()).await {
                    Ok(0) => return Err(ErrorKind::Io.into()),
                    Ok(bytes) => self.session.received(bytes),
                    Err(error) => return Err(Fault::broken(error)),
                }
            }
        };
        let received = self.patience.lasts(&mut self.timer, receiving).await;
        received.unwrap_or_else(|| Err(self.late()))
    }

    /// Ends an exchange, after which there may be another.
    ///
    /// # Errors
    ///
    /// If there is more than the replies.
    pub(crate) fn rest(&mut self, deadline: Deadline) -> Result<(), Fault> {
        (self.used, self.is_under_way) = (deadline.begun(), false);
        if self.session.is_drained() { Ok(()) } else { Err(ErrorKind::Protocol.into()) }
    }

    /// The fault of a server that has not answered in time.
    fn late(&self) -> Fault {
        if self.is_hurried { Trouble::Hurried.into() } else { ErrorKind::Timeout.into() }
    }

    /// Says goodbye, as far as that takes no time.
    pub(crate) fn quit(mut self) {
        let context = &mut Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.socket).poll_write(context, GOODBYE);
    }

    /// Returns the socket, and what has been said on it.
    pub(crate) fn into_parts(self) -> (Box<dyn AsyncSocket>, Box<Session>) {
        (self.socket, self.session)
    }
}

/// Opens a socket, as `socket` does for blocking callers.
async fn open(endpoint: &Endpoint, deadline: Deadline) -> Result<(Box<dyn AsyncSocket>, Option<SocketAddr>), Fault> {
    Ok(match &endpoint.server.address {
        Location::Tcp { host, security, .. } => {
            let (stream, peer) = connect(endpoint, deadline).await?;
            let socket = match security {
                Security::Plain => Box::new(stream),
                Security::Tls => in_time_to_connect(deadline.at_least_fair(), secure(endpoint, host, stream)).await?,
            };
            (socket, Some(peer))
        }
        Location::Unix(path) => (in_time_to_connect(deadline, unix(path)).await?, None),
    })
}

/// Runs a part of connecting within the time left for it.
async fn in_time_to_connect<T>(deadline: Deadline, work: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
    let left = deadline.left_to_connect().ok_or(Trouble::OutOfTime)?;
    let late = Trouble::unconnected_in(left, deadline);
    within(left, work).await.unwrap_or_else(|| Err(late.into()))
}

/// Connects to the address that callers agree on.
async fn connect(endpoint: &Endpoint, deadline: Deadline) -> Result<(TcpStream, SocketAddr), Fault> {
    let Some(names) = &endpoint.addresses else { return Err(Fault::unreachable("it has no address")) };
    loop {
        let former = names.used();
        let left = deadline.left_to_connect().ok_or(Trouble::OutOfTime)?;
        let mut race = Race::new(names.get_async(left).await?, deadline)?;
        let won = within(left, run(&mut race)).await.unwrap_or_else(|| Err(race.lost()));
        let (stream, address) = won.inspect_err(|_| names.doubt())?;
        if endpoint.reached(address, former) {
            return Ok((stream, address));
        }
    }
}

/// An attempt to connect.
type Dialling = Pin<Box<dyn Future<Output = (SocketAddr, io::Result<TcpStream>)> + Send>>;

/// Runs a race.
async fn run(race: &mut Race) -> Result<(TcpStream, SocketAddr), Fault> {
    let mut attempts: Vec<Dialling> = Vec::new();
    let mut timer = Reminder::at(race.end());
    poll_fn(|context| {
        loop {
            let mut index = 0;
            while let Some(attempt) = attempts.get_mut(index) {
                match attempt.as_mut().poll(context) {
                    Poll::Pending => index += 1,
                    Poll::Ready((address, Ok(stream))) => return Poll::Ready(Ok((stream, address))),
                    Poll::Ready((_, Err(error))) => {
                        race.failed(Fault::unconnected(error));
                        drop(attempts.swap_remove(index));
                    }
                }
            }
            match race.next(now()) {
                Move::Lost(fault) => return Poll::Ready(Err(fault)),
                Move::Try(address) => attempts.push(Box::pin(async move { (address, to(address).await) })),
                Move::Wait(None) => return Poll::Pending,
                Move::Wait(Some(until)) => {
                    timer.reset(until);
                    ready!(timer.poll(context));
                }
            }
        }
    })
    .await
}

/// Opens a connection to an address.
async fn to(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Opens a Unix socket.
#[cfg(unix)]
async fn unix(path: &str) -> Result<Box<dyn AsyncSocket>, Fault> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(Fault::unconnected(error)),
    }
}

/// Refuses: this system has none.
#[cfg(not(unix))]
async fn unix(_: &str) -> Result<Box<dyn AsyncSocket>, Fault> {
    Err(Fault::unreachable("there are no unix sockets on this system"))
}

/// Speaks TLS over a stream.
#[cfg(feature = "tls")]
async fn secure(endpoint: &Endpoint, host: &str, stream: TcpStream) -> Result<Box<dyn AsyncSocket>, Fault> {
    let (tls, host) = endpoint.access.tls_with(host)?;
    Ok(Box::new(tls.open_async(host, stream).await?))
}

/// Refuses: this build has no TLS.
#[cfg(not(feature = "tls"))]
async fn secure(_: &Endpoint, _: &str, _: TcpStream) -> Result<Box<dyn AsyncSocket>, Fault> {
    Err(Fault::unreachable("memocached was built without its feature `tls`"))
}
