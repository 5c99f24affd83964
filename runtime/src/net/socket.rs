//! The blocking sockets: TCP and Unix here, TLS on top of TCP in `tls`.
//!
//! Only opens them; what the bytes mean is in `protocol`.

use std::io;
#[cfg(unix)]
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::net::endpoint::Endpoint;
use crate::net::fault::{Fault, Trouble};
use crate::net::stream::Socket;
use crate::server::{Location, Security};
use crate::time::budget::Deadline;

/// Opens a socket; also says where it leads, if that is an address.
pub(crate) fn open(endpoint: &Endpoint, deadline: Deadline) -> Result<(Box<dyn Socket>, Option<SocketAddr>), Fault> {
    Ok(match &endpoint.server.address {
        Location::Tcp { host, security, .. } => {
            let (stream, peer) = connect(endpoint, deadline)?;
            let socket = match security {
                Security::Plain => Box::new(stream),
                Security::Tls => secure(endpoint, host, deadline, stream)?,
            };
            (socket, Some(peer))
        }
        Location::Unix(path) => (unix(path, deadline)?, None),
    })
}

/// The time left to connect.
fn left(deadline: Deadline) -> Result<Duration, Fault> {
    deadline.left_to_connect().ok_or_else(|| Trouble::OutOfTime.into())
}

/// Tries the server's addresses one after the other.
fn connect(endpoint: &Endpoint, deadline: Deadline) -> Result<(TcpStream, SocketAddr), Fault> {
    let Some(names) = &endpoint.addresses else { return Err(Fault::unreachable("it has no address")) };
    let addresses = names.get(left(deadline)?)?;
    let mut last = Fault::unreachable("the name has no address");
    for address in addresses {
        let opened = TcpStream::connect_timeout(&address, left(deadline)?);
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

/// Opens a Unix socket. The system waits without a limit where a server has
/// stopped and its queue is full, so it waits on a thread that may be left
/// behind.
#[cfg(unix)]
fn unix(path: &str, deadline: Deadline) -> Result<Box<dyn Socket>, Fault> {
    let left = left(deadline)?;
    let (sender, opened) = std::sync::mpsc::channel();
    let path = path.to_owned();
    let open = move || drop(sender.send(UnixStream::connect(path)));
    let thread = std::thread::Builder::new().name("memocached-connect".into());
    thread.spawn(open).map_err(|error| Fault::from(Trouble::NoThread).because(error))?;
    match opened.recv_timeout(left) {
        Ok(Ok(stream)) => Ok(Box::new(stream)),
        Ok(Err(error)) => Err(Fault::unconnected(error)),
        Err(_) => Err(Trouble::Silent.into()),
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

/// Refuses: this system has none.
#[cfg(not(unix))]
fn unix(_: &str, _: Deadline) -> Result<Box<dyn Socket>, Fault> {
    Err(Fault::unreachable("there are no unix sockets on this system"))
}

/// Speaks TLS over a stream.
#[cfg(feature = "tls")]
fn secure(endpoint: &Endpoint, host: &str, deadline: Deadline, stream: TcpStream) -> Result<Box<dyn Socket>, Fault> {
    let Some(tls) = &endpoint.access.tls else { return Err(Fault::unreachable("TLS has not been set up")) };
    tls.open(host, deadline, stream)
}

/// Refuses: this build has no TLS.
#[cfg(not(feature = "tls"))]
fn secure(_: &Endpoint, _: &str, _: Deadline, _: TcpStream) -> Result<Box<dyn Socket>, Fault> {
    Err(Fault::unreachable("memocached was built without its feature `tls`"))
}
