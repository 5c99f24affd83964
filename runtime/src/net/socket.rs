//! The blocking sockets: TCP and Unix here, TLS on top of TCP in `tls`.
//!
//! Only opens them; what the bytes mean is in `protocol`.

use std::io;
#[cfg(unix)]
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
#[cfg(unix)]
use std::os::unix::fs::MetadataExt;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::net::elsewhere::elsewhere;
use crate::net::endpoint::Endpoint;
use crate::net::fault::{Fault, Trouble};
use crate::net::race::{Move, Race};
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
        Location::Unix(path) => (unix(endpoint, path, deadline)?, None),
    })
}

/// Returns the time left to connect.
fn left(deadline: Deadline) -> Result<Duration, Fault> {
    deadline.left_to_connect().ok_or_else(|| Trouble::OutOfTime.into())
}

/// Connects to the address that callers agree on.
fn connect(endpoint: &Endpoint, deadline: Deadline) -> Result<(TcpStream, SocketAddr), Fault> {
    let Some(names) = &endpoint.addresses else { return Err(Fault::unreachable("it has no address")) };
    loop {
        let former = names.used();
        let race = Race::new(names.get(left(deadline)?)?, deadline)?;
        let (stream, address) = run(race).inspect_err(|_| names.doubt())?;
        if endpoint.reached(address, former) {
            return Ok((stream, address));
        }
    }
}

/// Runs a race. An attempt that another may overtake is made on a thread, which
/// may be left behind.
fn run(mut race: Race) -> Result<(TcpStream, SocketAddr), Fault> {
    let (sender, ended) = std::sync::mpsc::channel();
    let end = race.end();
    let take = |race: &mut Race, address, opened: io::Result<TcpStream>| match opened {
        Ok(stream) => Some((stream, address)),
        Err(error) => {
            race.failed(Fault::unconnected(error));
            None
        }
    };
    loop {
        let now = Instant::now();
        if now >= end {
            return Err(race.lost());
        }
        let won = match race.next(now) {
            Move::Lost(fault) => return Err(fault),
            Move::Try(address) if race.is_last() => take(&mut race, address, open_by(address, end)),
            Move::Try(address) => {
                let sender = sender.clone();
                let attempt = move || drop(sender.send((address, open_by(address, end))));
                elsewhere(attempt)?;
                None
            }
            Move::Wait(until) => {
                let received =
                    ended.recv_timeout(until.map_or(end, |until| until.min(end)).saturating_duration_since(now));
                received.ok().and_then(|(address, opened)| take(&mut race, address, opened))
            }
        };
        if let Some(won) = won {
            return Ok(won);
        }
    }
}

/// Opens a connection to an address, within the time until then.
fn open_by(address: SocketAddr, end: Instant) -> io::Result<TcpStream> {
    let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero());
    let stream = TcpStream::connect_timeout(&address, left.ok_or(io::ErrorKind::TimedOut)?)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

impl Socket for TcpStream {
    fn limit(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn waits(&self, waits: bool) -> io::Result<()> {
        self.set_nonblocking(!waits)
    }

    fn is_quiet(&mut self) -> bool {
        at_once(self, |stream| stream.peek(&mut [0]))
    }
}

/// Returns whether a read that may not wait would have to.
fn at_once<S: Socket>(stream: &mut S, read: impl FnOnce(&mut S) -> io::Result<usize>) -> bool {
    if stream.waits(false).is_err() {
        return false;
    }
    let waits = read(stream).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    stream.waits(true).is_ok() && waits
}

/// Opens a Unix socket. The system waits without a limit where a server has
/// stopped and its queue is full, so it waits on a thread that may be left
/// behind.
#[cfg(unix)]
fn unix(endpoint: &Endpoint, path: &str, deadline: Deadline) -> Result<Box<dyn Socket>, Fault> {
    let left = left(deadline)?;
    // Another server may take the path.
    let file = std::fs::metadata(path).map_err(Fault::unconnected)?;
    let path = path.to_owned();
    let late = Trouble::unconnected_in(left, deadline);
    let stream = endpoint.left_behind.connect((file.dev(), file.ino()), left, late, || UnixStream::connect(path))?;
    Ok(Box::new(stream))
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn limit(&self, timeout: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(timeout))?;
        self.set_write_timeout(Some(timeout))
    }

    fn waits(&self, waits: bool) -> io::Result<()> {
        self.set_nonblocking(!waits)
    }

    fn is_quiet(&mut self) -> bool {
        at_once(self, |stream| stream.read(&mut [0]))
    }
}

/// Refuses: this system has none.
#[cfg(not(unix))]
fn unix(_: &Endpoint, _: &str, _: Deadline) -> Result<Box<dyn Socket>, Fault> {
    Err(Fault::unreachable("there are no unix sockets on this system"))
}

/// Speaks TLS over a stream.
#[cfg(feature = "tls")]
fn secure(endpoint: &Endpoint, host: &str, deadline: Deadline, stream: TcpStream) -> Result<Box<dyn Socket>, Fault> {
    let (tls, host) = endpoint.access.tls_with(host)?;
    tls.open(host, deadline, stream)
}

/// Refuses: this build has no TLS.
#[cfg(not(feature = "tls"))]
fn secure(_: &Endpoint, _: &str, _: Deadline, _: TcpStream) -> Result<Box<dyn Socket>, Fault> {
    Err(Fault::unreachable("memocached was built without its feature `tls`"))
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::full::FullSocket;
    use crate::net::endpoint::Access;
    use crate::time::budget::Budget;

    #[test]
    fn a_server_that_takes_the_path_of_one_that_waits_is_reached() {
        let path = std::env::temp_dir().join(format!("memocached-{}-path.sock", std::process::id()));
        let path = path.to_str().expect("it is text");
        let endpoint = Endpoint::new(path.parse().expect("a server"), Access::default());
        let within = |millis| {
            let limit = Duration::from_millis(millis);
            open(&endpoint, Budget::new(limit, limit).deadline()).map(drop).map_err(|fault| fault.trouble)
        };
        let hurried = || {
            let deadline = Budget::new(Duration::from_secs(20), Duration::from_secs(20)).deadline();
            open(&endpoint, deadline.or_after(Duration::from_millis(5))).map(drop).map_err(|fault| fault.trouble)
        };
        let _full = FullSocket::at(path);
        assert_eq!([within(50), within(50)], [Err(Trouble::Silent); 2]);
        assert_eq!(hurried(), Err(Trouble::Hurried));
        std::fs::remove_file(path).expect("it was there");
        let _listener = UnixListener::bind(path).expect("a socket");
        assert_eq!(within(20_000), Ok(()));
        std::fs::remove_file(path).expect("it was there");
    }
}
