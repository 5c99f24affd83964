//! A connection on tokio: requests out, replies in.
//!
//! Belongs to the runtime it was opened on. A connection that has failed in
//! any way, or whose exchange was cancelled, must not be used again; that is
//! for `node` and `async_pool` to see to.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::error::{Error, ErrorKind};
use crate::exchange::{Request, Verb};
use crate::net::connection::SHORT_IDLE;
use crate::net::endpoint::Endpoint;
use crate::net::socket::{broken, unconnected, unresolved};
use crate::protocol::{Answer, Dialect, GOODBYE, Session, Ticket};
use crate::server::{Address, Security};
use crate::time::budget::Deadline;

/// A stream of bytes.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Socket for S {}

/// A connection that is ready for requests.
pub(crate) struct AsyncConnection {
    socket: Box<dyn Socket>,
    pub(crate) peer: Option<SocketAddr>,
    /// In a box, because connections are moved about.
    session: Box<Session>,
    /// Goes off at some time before a deadline and is set again then: to set it
    /// for each call costs more than to be woken for nothing now and then.
    timer: Pin<Box<Sleep>>,
    /// When the last exchange began.
    used: Instant,
}

impl AsyncConnection {
    /// As the blocking connection's.
    pub(crate) async fn dial(endpoint: &Endpoint, deadline: Deadline) -> Result<Self, Error> {
        match Self::open(endpoint, endpoint.dialect().unwrap_or(Dialect::Meta), deadline).await {
            Err(error) if error.kind() == ErrorKind::Io && endpoint.dialect().is_none() => {
                Self::open(endpoint, Dialect::Classic, deadline).await
            }
            opened => opened,
        }
    }

    async fn open(endpoint: &Endpoint, dialect: Dialect, deadline: Deadline) -> Result<Self, Error> {
        let left = deadline.left_to_connect().ok_or_else(|| endpoint.out_of_time())?;
        let (socket, peer) =
            tokio::time::timeout(left, open(endpoint, left)).await.map_err(|_| endpoint.silent())??;
        let timer = Box::pin(tokio::time::sleep_until(deadline.instant().into()));
        let session = Box::new(Session::new(dialect));
        let mut connection = AsyncConnection { socket, peer, session, timer, used: deadline.begun() };
        let verb = Verb::Version;
        let tickets = endpoint.greet(&mut connection.session)?;
        connection.flush(endpoint, verb, deadline).await?;
        for ticket in tickets {
            let _ = connection.receive(endpoint, ticket, verb, deadline).await?;
        }
        connection.rest(endpoint, verb, deadline)?;
        endpoint.speaks(connection.session.dialect());
        Ok(connection)
    }

    /// As the blocking connection's, as far as that is known without asking the
    /// system.
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

    /// Puts a request behind those that are to be sent.
    pub(crate) fn write(&mut self, endpoint: &Endpoint, request: &Request<'_>) -> Result<Ticket, Error> {
        self.session.write(request).map_err(|_| endpoint.failed(request.verb(), ErrorKind::Rejected))
    }

    /// Sends what has been written.
    pub(crate) async fn flush(&mut self, endpoint: &Endpoint, verb: Verb, deadline: Deadline) -> Result<(), Error> {
        if self.session.output().is_empty() {
            return Ok(());
        }
        deadline.left().ok_or_else(|| endpoint.out_of_time())?;
        let sending = async {
            self.socket.write_all(self.session.output()).await?;
            self.socket.flush().await
        };
        match in_time(&mut self.timer, deadline, sending).await {
            Some(sent) => sent.map_err(|error| broken(endpoint, verb, error))?,
            None => return Err(endpoint.failed(verb, ErrorKind::Timeout)),
        }
        self.session.sent();
        Ok(())
    }

    /// Reads the next reply.
    pub(crate) async fn receive(
        &mut self,
        endpoint: &Endpoint,
        ticket: Ticket,
        verb: Verb,
        deadline: Deadline,
    ) -> Result<Answer, Error> {
        let receiving = async {
            loop {
                match self.session.reply(ticket) {
                    Ok(Some(answer)) => return Ok(answer),
                    Ok(None) => {}
                    Err(malformed) => return Err(endpoint.failed(verb, malformed.0)),
                }
                match self.socket.read(self.session.space()).await {
                    Ok(0) => return Err(endpoint.failed(verb, ErrorKind::Io)),
                    Ok(bytes) => self.session.received(bytes),
                    Err(error) => return Err(broken(endpoint, verb, error)),
                }
            }
        };
        let received = in_time(&mut self.timer, deadline, receiving).await;
        received.unwrap_or_else(|| Err(endpoint.failed(verb, ErrorKind::Timeout)))
    }

    /// Says goodbye, as far as that takes no time.
    pub(crate) fn quit(mut self) {
        let context = &mut Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut self.socket).poll_write(context, GOODBYE);
    }

    pub(crate) fn into_parts(self) -> (Box<dyn Socket>, Box<Session>) {
        (self.socket, self.session)
    }

    /// As the blocking connection's.
    pub(crate) fn rest(&mut self, endpoint: &Endpoint, verb: Verb, deadline: Deadline) -> Result<(), Error> {
        self.used = deadline.begun();
        if self.session.is_drained() { Ok(()) } else { Err(endpoint.failed(verb, ErrorKind::Protocol)) }
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

/// As `socket` does.
async fn open(endpoint: &Endpoint, patience: Duration) -> Result<(Box<dyn Socket>, Option<SocketAddr>), Error> {
    Ok(match &endpoint.server.address {
        Address::Tcp { host, security, .. } => {
            let (stream, peer) = connect(endpoint, patience).await?;
            let socket = match security {
                Security::Plain => Box::new(stream),
                Security::Tls => secure(endpoint, host, stream).await?,
            };
            (socket, Some(peer))
        }
        Address::Unix(path) => (unix(endpoint, path).await?, None),
    })
}

async fn connect(endpoint: &Endpoint, patience: Duration) -> Result<(TcpStream, SocketAddr), Error> {
    let Some(names) = &endpoint.addresses else { return Err(endpoint.refused("it has no address")) };
    let addresses = names.get_async(patience).await.map_err(|why| unresolved(endpoint, why))?;
    let mut last = endpoint.refused("the name has no address");
    for address in addresses {
        let opened = TcpStream::connect(address).await;
        match opened.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
            Ok(stream) => {
                endpoint.reached(address);
                return Ok((stream, address));
            }
            Err(error) => last = unconnected(endpoint, error),
        }
    }
    names.doubt();
    Err(last)
}

#[cfg(unix)]
async fn unix(endpoint: &Endpoint, path: &str) -> Result<Box<dyn Socket>, Error> {
    match tokio::net::UnixStream::connect(path).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(unconnected(endpoint, error)),
    }
}

#[cfg(not(unix))]
async fn unix(endpoint: &Endpoint, _: &str) -> Result<Box<dyn Socket>, Error> {
    Err(endpoint.refused("there are no unix sockets on this system"))
}

#[cfg(feature = "tls")]
async fn secure(endpoint: &Endpoint, host: &str, stream: TcpStream) -> Result<Box<dyn Socket>, Error> {
    let Some(tls) = &endpoint.access.tls else { return Err(endpoint.refused("TLS has not been set up")) };
    Ok(Box::new(tls.open_async(endpoint, host, stream).await?))
}

#[cfg(not(feature = "tls"))]
async fn secure(endpoint: &Endpoint, _: &str, _: TcpStream) -> Result<Box<dyn Socket>, Error> {
    Err(endpoint.refused("memocached was built without its feature `tls`"))
}
