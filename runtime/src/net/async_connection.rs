//! A connection on tokio: requests out, replies in.
//!
//! It belongs to the runtime it was opened on. A connection that has failed in
//! any way, or whose exchange was cancelled, must not be used again; `node` and
//! `async_pool` see to that.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::error::ErrorKind;
use crate::exchange::Request;
use crate::net::connection::SHORT_IDLE;
use crate::net::endpoint::Endpoint;
use crate::net::fault::{Fault, Trouble};
use crate::net::stream::AsyncSocket;
use crate::protocol::{Answer, Dialect, GOODBYE, Session, Ticket};
use crate::server::{Location, Security};
use crate::time::budget::Deadline;

/// A connection that is ready for requests.
pub(crate) struct AsyncConnection {
    socket: Box<dyn AsyncSocket>,
    pub(crate) peer: Option<SocketAddr>,
    /// In a box, as connections are moved about.
    session: Box<Session>,
    /// Goes off at some time before a deadline and is set again then: to set it
    /// for each call costs more than to wake up for nothing now and then.
    timer: Pin<Box<Sleep>>,
    /// When the last exchange began.
    used: Instant,
}

impl AsyncConnection {
    /// Opens a connection and greets the server, as the blocking one does.
    pub(crate) async fn dial(endpoint: &Endpoint, deadline: Deadline) -> Result<Self, Fault> {
        match Self::open(endpoint, endpoint.dialect().unwrap_or(Dialect::Meta), deadline).await {
            Err(fault) if fault.kind() == ErrorKind::Io && endpoint.dialect().is_none() => {
                Self::open(endpoint, Dialect::Classic, deadline).await
            }
            opened => opened,
        }
    }

    /// Opens a connection in this dialect.
    async fn open(endpoint: &Endpoint, dialect: Dialect, deadline: Deadline) -> Result<Self, Fault> {
        let left = deadline.left_to_connect().ok_or(Trouble::OutOfTime)?;
        let opened = tokio::time::timeout(left, open(endpoint, left)).await;
        let (socket, peer) = opened.map_err(|_| Trouble::Silent)??;
        let timer = Box::pin(tokio::time::sleep_until(deadline.instant().into()));
        let session = Box::new(Session::new(dialect));
        let mut connection = AsyncConnection { socket, peer, session, timer, used: deadline.begun() };
        let tickets = endpoint.greet(&mut connection.session)?;
        connection.greet(tickets, deadline).await.map_err(Fault::in_greeting)?;
        endpoint.speaks(connection.session.dialect());
        Ok(connection)
    }

    /// Sends the greeting and reads what the server says to it.
    async fn greet(&mut self, tickets: Vec<Ticket>, deadline: Deadline) -> Result<(), Fault> {
        self.flush(deadline).await?;
        for ticket in tickets {
            let _ = self.receive(ticket, deadline).await?;
        }
        self.rest(deadline)
    }

    /// Whether an idle connection still is one, as far as that is known without
    /// asking the system.
    pub(crate) fn is_usable(&mut self, endpoint: &Endpoint, deadline: Deadline) -> bool {
        if !endpoint.is_at(self.peer) {
            return false;
        }
        let is_recent = deadline.begun().saturating_duration_since(self.used) < SHORT_IDLE;
        if is_recent && self.session.dialect() == Dialect::Meta {
            return true;
        }
        let (context, byte) = (&mut Context::from_waker(Waker::noop()), &mut [0]);
        Pin::new(&mut self.socket).poll_read(context, &mut ReadBuf::new(byte)).is_pending()
    }

    /// Appends a request to those to be sent.
    pub(crate) fn write(&mut self, request: &Request<'_>) -> Result<Ticket, Fault> {
        Ok(self.session.write(request)?)
    }

    /// Sends what has been written.
    pub(crate) async fn flush(&mut self, deadline: Deadline) -> Result<(), Fault> {
        if self.session.output().is_empty() {
            return Ok(());
        }
        deadline.left().ok_or(Trouble::OutOfTime)?;
        let sending = async {
            self.socket.write_all(self.session.output()).await?;
            self.socket.flush().await
        };
        let sent = in_time(&mut self.timer, deadline, sending).await;
        sent.ok_or(ErrorKind::Timeout)?.map_err(Fault::broken)?;
        self.session.sent();
        Ok(())
    }

    /// Sends several requests at once.
    pub(crate) async fn send(&mut self, requests: &[Request<'_>], deadline: Deadline) -> Result<Vec<Ticket>, Fault> {
        let tickets = requests.iter().map(|request| self.write(request)).collect::<Result<Vec<_>, _>>()?;
        self.flush(deadline).await?;
        Ok(tickets)
    }

    /// Reads the next reply.
    pub(crate) async fn receive(&mut self, ticket: Ticket, deadline: Deadline) -> Result<Answer, Fault> {
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
        let received = in_time(&mut self.timer, deadline, receiving).await;
        received.unwrap_or_else(|| Err(ErrorKind::Timeout.into()))
    }

    /// Ends an exchange, after which there may be another.
    ///
    /// # Errors
    ///
    /// If there is more than the replies.
    pub(crate) fn rest(&mut self, deadline: Deadline) -> Result<(), Fault> {
        self.used = deadline.begun();
        if self.session.is_drained() { Ok(()) } else { Err(ErrorKind::Protocol.into()) }
    }

    /// Says goodbye, as far as that takes no time.
    pub(crate) fn quit(mut self) {
        let context = &mut Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.socket).poll_write(context, GOODBYE);
    }

    /// The socket, and what has been said on it.
    pub(crate) fn into_parts(self) -> (Box<dyn AsyncSocket>, Box<Session>) {
        (self.socket, self.session)
    }
}

/// What comes of this work, if it ends before the deadline.
async fn in_time<T>(timer: &mut Pin<Box<Sleep>>, deadline: Deadline, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, at) = (pin!(work), deadline.instant().into());
    poll_fn(|context| {
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(context).is_ready() {
            if tokio::time::Instant::now() >= at {
                return Poll::Ready(None);
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    })
    .await
}

/// Opens a socket, as `socket` does for blocking callers.
async fn open(endpoint: &Endpoint, patience: Duration) -> Result<(Box<dyn AsyncSocket>, Option<SocketAddr>), Fault> {
    Ok(match &endpoint.server.address {
        Location::Tcp { host, security, .. } => {
            let (stream, peer) = connect(endpoint, patience).await?;
            let socket = match security {
                Security::Plain => Box::new(stream),
                Security::Tls => secure(endpoint, host, stream).await?,
            };
            (socket, Some(peer))
        }
        Location::Unix(path) => (unix(path).await?, None),
    })
}

/// Tries the server's addresses one after the other.
async fn connect(endpoint: &Endpoint, patience: Duration) -> Result<(TcpStream, SocketAddr), Fault> {
    let Some(names) = &endpoint.addresses else { return Err(Fault::unreachable("it has no address")) };
    let addresses = names.get_async(patience).await?;
    let mut last = Fault::unreachable("the name has no address");
    for address in addresses {
        let opened = TcpStream::connect(address).await;
        match opened.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => {
                endpoint.reached(address);
                return Ok((stream, address));
            }
            Err(error) => last = Fault::unconnected(error),
        }
    }
    names.doubt();
    Err(last)
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
    let Some(tls) = &endpoint.access.tls else { return Err(Fault::unreachable("TLS has not been set up")) };
    Ok(Box::new(tls.open_async(host, stream).await?))
}

/// Refuses: this build has no TLS.
#[cfg(not(feature = "tls"))]
async fn secure(_: &Endpoint, _: &str, _: TcpStream) -> Result<Box<dyn AsyncSocket>, Fault> {
    Err(Fault::unreachable("memocached was built without its feature `tls`"))
}
