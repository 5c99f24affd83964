//! Blocking sockets: TCP and unix here, TLS on top of TCP in `tls`.
//!
//! Only opens, reads and writes; what the bytes mean is in `protocol`.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::exchange::Verb;
use crate::net::endpoint::Endpoint;
use crate::net::resolve::Unresolved;
use crate::server::{Address, Security};
use crate::time::budget::Deadline;

/// A stream of bytes with a time limit on each call.
pub(crate) trait Socket: Read + Write + Send {
    /// Limits how long a read or a write may take.
    fn limit(&self, timeout: Duration) -> io::Result<()>;

    /// By when the next reads and writes must have ended. For those that are
    /// one for the system as well, the limit says as much.
    fn until(&mut self, _: Instant) {}

    /// Whether the other side has neither closed nor said anything unasked.
    fn is_quiet(&mut self) -> bool;
}

/// Time limits are rounded up to multiples of this, so that they need not be
/// told to the system for each request.
const STEP: Duration = Duration::from_millis(4);

pub(crate) fn rounded(left: Duration) -> Duration {
    let steps = u32::try_from(left.as_nanos().div_ceil(STEP.as_nanos())).unwrap_or(u32::MAX);
    STEP.saturating_mul(steps)
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
        Address::Unix(path) => (unix(endpoint, path, deadline)?, None),
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

/// `EMFILE` and `ENFILE`, which std has no names for.
const OUT_OF_DESCRIPTORS: [i32; 2] = if cfg!(unix) { [24, 23] } else { [10024, 10024] };

pub(crate) fn unresolved(endpoint: &Endpoint, why: Unresolved) -> Error {
    match why {
        Unresolved::NotInTime => endpoint.silent(),
        Unresolved::Failed(error) => endpoint.refused("the name could not be resolved").with_source(error),
    }
}

pub(crate) fn unconnected(endpoint: &Endpoint, error: io::Error) -> Error {
    match error.kind() {
        // That says nothing about the server.
        _ if error.raw_os_error().is_some_and(|number| OUT_OF_DESCRIPTORS.contains(&number)) => {
            let message = format!("no descriptor is left for a connection to {}", endpoint.server);
            Error::new(ErrorKind::PoolExhausted, message).with_source(error)
        }
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

/// The system waits without a limit where a server has stopped and its queue is
/// full, so that is done on a thread that may be left behind.
#[cfg(unix)]
fn unix(endpoint: &Endpoint, path: &str, deadline: Deadline) -> Result<Box<dyn Socket>, Error> {
    let left = deadline.left_to_connect().ok_or_else(|| endpoint.out_of_time())?;
    let (sender, opened) = std::sync::mpsc::channel();
    let path = path.to_owned();
    let open = move || drop(sender.send(UnixStream::connect(path)));
    let thread = std::thread::Builder::new().name("memocached-connect".into());
    thread.spawn(open).map_err(|error| {
        let message = format!("no thread is left to connect to {} on", endpoint.server);
        Error::new(ErrorKind::PoolExhausted, message).with_source(error)
    })?;
    match opened.recv_timeout(left) {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(unconnected(endpoint, error)),
        Err(_) => Err(endpoint.silent()),
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
fn unix(endpoint: &Endpoint, _: &str, _: Deadline) -> Result<Box<dyn Socket>, Error> {
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
