//! Blocking sockets: TCP and unix here, TLS on top of TCP in `tls`.
//!
//! Only opens, reads and writes; what the bytes mean is in `protocol`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::budget::Deadline;
use crate::endpoint::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::exchange::Verb;
use crate::resolve::Unresolved;
use crate::server::{Address, Security};

/// A stream of bytes with a time limit on each call.
pub(crate) trait Socket: Read + Write + Send {
    /// Limits how long a read or a write may take.
    fn limit(&self, timeout: Duration) -> io::Result<()>;

    /// Whether the other side has neither closed nor said anything unasked.
    fn is_quiet(&mut self) -> bool;
}

/// A socket, and where it leads to if that is an address.
pub(crate) type Opened = (Box<dyn Socket>, Option<SocketAddr>);

pub(crate) fn open(endpoint: &Endpoint, deadline: Deadline) -> Result<Opened, Error> {
    Ok(match &endpoint.server.address {
        Address::Tcp { host, security, .. } => {
            let (stream, peer) = connect(endpoint, deadline)?;
            let socket = match security {
                Security::Plain => Box::new(stream),
                Security::Tls => secure(endpoint, host, deadline, stream)?,
            };
            (socket, Some(peer))
        }
        Address::Unix(path) => (unix(endpoint, path)?, None),
    })
}

fn connect(endpoint: &Endpoint, deadline: Deadline) -> Result<(TcpStream, SocketAddr), Error> {
    let Some(names) = &endpoint.addresses else { return Err(endpoint.refused("it has no address")) };
    let left = deadline.left_to_connect().ok_or_else(|| endpoint.out_of_time())?;
    let addresses = names.get(left).map_err(|why| unresolved(endpoint, why))?;
    let mut last = endpoint.refused("the name has no address");
    for address in addresses {
        let left = deadline.left_to_connect().ok_or_else(|| endpoint.out_of_time())?;
        let opened = TcpStream::connect_timeout(&address, left);
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

pub(crate) fn unresolved(endpoint: &Endpoint, why: Unresolved) -> Error {
    match why {
        Unresolved::NotInTime => endpoint.silent(),
        Unresolved::Failed(error) => endpoint.refused("the name could not be resolved").with_source(error),
    }
}

pub(crate) fn unconnected(endpoint: &Endpoint, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => endpoint.silent(),
        _ => endpoint.refused("no connection").with_source(error),
    }
}

/// A connection that has broken in the middle of something. Under TLS the other
/// side may have said why: that is no data.
pub(crate) fn broken(endpoint: &Endpoint, verb: Verb, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::InvalidData => ErrorKind::Tls,
        _ => ErrorKind::Io,
    };
    endpoint.failed(verb, kind).with_source(error)
}

impl Socket for TcpStream {
    fn limit(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn is_quiet(&mut self) -> bool {
        at_once(self, |stream, on| stream.set_nonblocking(on), |stream| stream.peek(&mut [0]))
    }
}

/// Whether a read that may not wait would have to.
fn at_once<S>(
    stream: &mut S,
    set_nonblocking: impl Fn(&S, bool) -> io::Result<()>,
    read: impl FnOnce(&mut S) -> io::Result<usize>,
) -> bool {
    if set_nonblocking(stream, true).is_err() {
        return false;
    }
    let waits = read(stream).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    set_nonblocking(stream, false).is_ok() && waits
}

#[cfg(unix)]
fn unix(endpoint: &Endpoint, path: &str) -> Result<Box<dyn Socket>, Error> {
    match UnixStream::connect(path) {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(unconnected(endpoint, error)),
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn limit(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn is_quiet(&mut self) -> bool {
        at_once(self, |stream, on| stream.set_nonblocking(on), |stream| stream.read(&mut [0]))
    }
}

#[cfg(not(unix))]
fn unix(endpoint: &Endpoint, _: &str) -> Result<Box<dyn Socket>, Error> {
    Err(endpoint.refused("there are no unix sockets on this system"))
}

#[cfg(feature = "tls")]
fn secure(endpoint: &Endpoint, host: &str, deadline: Deadline, stream: TcpStream) -> Result<Box<dyn Socket>, Error> {
    let Some(tls) = &endpoint.access.tls else { return Err(endpoint.refused("TLS has not been set up")) };
    tls.open(endpoint, host, deadline, stream)
}

#[cfg(not(feature = "tls"))]
fn secure(endpoint: &Endpoint, _: &str, _: Deadline, _: TcpStream) -> Result<Box<dyn Socket>, Error> {
    Err(endpoint.refused("memocached was built without its feature `tls`"))
}
