//! Requests on a socket: the meta protocol over TCP, blocking and on tokio.
//!
//! The only file that names the crate `memcache` and that opens sockets. A
//! connection that has failed in any way must not be used again; that is for
//! `pool` to see to.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::time::{SystemTime, UNIX_EPOCH};

use memcache::exp::{Error as WireError, MetaCommand, MetaConnection, MetaOp, MetaResponse, ReturnCode};

use crate::budget::Deadline;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Guard, Item, Outcome, Reply, Request, Ttl, Verb};
use crate::server::{Address, Security, Server};

/// memcached reads a larger number of seconds as a point in time.
const LONGEST_RELATIVE_TTL: u64 = 30 * 24 * 3_600;
/// memcached keeps points in time in 32 bits, with a sign.
const LATEST_EXPIRY: u64 = i32::MAX as u64;

/// A blocking connection.
pub(crate) struct Connection {
    inner: MetaConnection,
    requests: u32,
}

impl Connection {
    pub(crate) fn dial(server: &Server, deadline: Deadline) -> Result<Self, Error> {
        let mut last = refused(server, "the name has no address");
        for address in resolve(server, deadline)? {
            let left = deadline.left_to_connect().ok_or_else(|| out_of_time(server))?;
            match TcpStream::connect_timeout(&address, left)
                .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            {
                Ok(stream) => return Ok(Connection { inner: MetaConnection::from_stream(stream), requests: 0 }),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => last = silent(server),
                Err(error) => last = refused(server, "no connection").with_source(error),
            }
        }
        Err(last)
    }

    pub(crate) fn exchange(&mut self, server: &Server, request: &Request<'_>, deadline: Deadline) -> Outcome {
        let left = deadline.left().ok_or_else(|| out_of_time(server))?;
        self.inner.set_io_timeout(Some(left));
        self.requests = self.requests.wrapping_add(1);
        let response = self.inner.execute(&command(request, self.requests));
        interpret(server, request, self.requests, response)
    }
}

/// A connection on tokio; it belongs to the runtime it was opened on.
#[cfg(feature = "tokio")]
pub(crate) struct AsyncConnection {
    inner: memcache::exp::AsyncMetaConnection,
    requests: u32,
}

#[cfg(feature = "tokio")]
impl AsyncConnection {
    pub(crate) async fn dial(server: &Server, deadline: Deadline) -> Result<Self, Error> {
        let left = deadline.left_to_connect().ok_or_else(|| out_of_time(server))?;
        let dialled = tokio::time::timeout(left, memcache::exp::AsyncMetaConnection::connect(plain(server)?)).await;
        match dialled {
            Ok(Ok(inner)) => Ok(AsyncConnection { inner, requests: 0 }),
            Ok(Err(WireError::Io(error))) => Err(refused(server, "no connection").with_source(error)),
            Ok(Err(_)) => Err(refused(server, "no connection")),
            Err(_) => Err(silent(server)),
        }
    }

    pub(crate) async fn exchange(&mut self, server: &Server, request: &Request<'_>, deadline: Deadline) -> Outcome {
        deadline.left().ok_or_else(|| out_of_time(server))?;
        self.requests = self.requests.wrapping_add(1);
        let command = command(request, self.requests);
        let response = tokio::time::timeout_at(deadline.instant().into(), self.inner.execute(&command)).await;
        match response {
            Ok(response) => interpret(server, request, self.requests, response),
            Err(_) => Err(failed(server, request, ErrorKind::Timeout)),
        }
    }
}

/// Where a server is that is reached over TCP as it is, which is all there is so far.
fn plain(server: &Server) -> Result<(&str, u16), Error> {
    match &server.address {
        Address::Tcp { host, port, security: Security::Plain } => Ok((host, *port)),
        Address::Tcp { security: Security::Tls, .. } => Err(refused(server, "TLS is not supported yet")),
        Address::Unix(_) => Err(refused(server, "unix sockets are not supported yet")),
    }
}

/// The addresses of a server. The system's resolver has no time limit of its
/// own, so names are looked up on a thread that may be left behind.
fn resolve(server: &Server, deadline: Deadline) -> Result<Vec<SocketAddr>, Error> {
    let (host, port) = plain(server)?;
    if let Ok(literal) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(literal, port)]);
    }
    let (send, receive) = mpsc::sync_channel(1);
    let host = host.to_owned();
    let looked_up = std::thread::Builder::new().name("memocached-resolve".into()).spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        // Nobody listens any more once the deadline has passed.
        let _ = send.send(addresses);
    });
    looked_up.map_err(|error| refused(server, "the name could not be looked up").with_source(error))?;
    let left = deadline.left_to_connect().ok_or_else(|| out_of_time(server))?;
    let answer: io::Result<Vec<SocketAddr>> = receive.recv_timeout(left).map_err(|_| silent(server))?;
    answer.map_err(|error| refused(server, "the name could not be resolved").with_source(error))
}

/// The command for a request. Its number comes back with the reply, so that a
/// late reply is never taken for this one's.
fn command(request: &Request<'_>, number: u32) -> MetaCommand {
    let numbered = |op, key: &str| MetaCommand::new(op, key).flag(format!("O{number}"));
    let read = |command: MetaCommand| command.flag("v").flag("f").flag("c").flag("t");
    let guarded = |command: MetaCommand, guard| match guard {
        Guard::None => command,
        Guard::Unchanged(cas) => command.flag(format!("C{cas}")),
    };
    match *request {
        Request::Lookup { key, lease } => read(numbered(MetaOp::Get, key)).flag(format!("N{}", lease.as_secs().max(1))),
        Request::Peek { key } => read(numbered(MetaOp::Get, key)),
        Request::Store { key, value, flags, ttl, guard } => {
            let set = numbered(MetaOp::Set, key).flag(format!("F{flags}")).flag(format!("T{}", expiry(ttl)));
            guarded(set, guard).value(value)
        }
        Request::Delete { key, guard } => guarded(numbered(MetaOp::Delete, key), guard),
    }
}

/// A ttl as memcached reads it: 0 for ever, seconds up to 30 days, then a
/// point in time.
fn expiry(ttl: Ttl) -> u64 {
    match ttl.seconds() {
        None => 0,
        Some(seconds) if seconds <= LONGEST_RELATIVE_TTL => seconds,
        Some(seconds) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
            now.saturating_add(seconds).min(LATEST_EXPIRY)
        }
    }
}

fn interpret(
    server: &Server,
    request: &Request<'_>,
    number: u32,
    response: Result<MetaResponse, WireError>,
) -> Outcome {
    let response = response.map_err(|error| failed(server, request, kind_of(&error)))?;
    let flags = Flags::read(&response);
    let alien = || failed(server, request, ErrorKind::Protocol);
    // Servers before 1.6.18 send no number with a miss.
    if flags.number.is_some_and(|found| found != number) || (flags.number.is_none() && response.rc() == ReturnCode::Va)
    {
        return Err(alien());
    }
    match (request.verb(), response.rc()) {
        (Verb::Get, ReturnCode::Va) => {
            let value = response.into_value().unwrap_or_default();
            // An empty item without flags is a lease that is out.
            Ok(match (value.is_empty() && flags.client == 0, flags.won) {
                (true, true) => Reply::Missing { won: flags.cas },
                (true, false) => Reply::Missing { won: None },
                (false, _) => Reply::Found(flags.item(value).ok_or_else(alien)?),
            })
        }
        (Verb::Get, ReturnCode::En) => Ok(Reply::Missing { won: None }),
        (Verb::Set | Verb::Delete, ReturnCode::Hd) => Ok(Reply::Done),
        (Verb::Set | Verb::Delete, ReturnCode::Ex) => Ok(Reply::Changed),
        (Verb::Set | Verb::Delete, ReturnCode::Nf) => Ok(Reply::Absent),
        _ => Err(alien()),
    }
}

/// What the flags of a response say.
#[derive(Default)]
struct Flags {
    number: Option<u32>,
    client: u32,
    cas: Option<u64>,
    ttl: Option<i64>,
    won: bool,
}

impl Flags {
    fn read(response: &MetaResponse) -> Self {
        fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
            std::str::from_utf8(digits).ok()?.parse().ok()
        }
        let mut flags = Flags::default();
        for flag in response.flags() {
            match flag {
                // A number that cannot be read is one that does not match.
                [b'O', digits @ ..] => flags.number = Some(number(digits).unwrap_or(u32::MAX)),
                [b'f', digits @ ..] => flags.client = number(digits).unwrap_or(u32::MAX),
                [b'c', digits @ ..] => flags.cas = number(digits),
                [b't', digits @ ..] => flags.ttl = number(digits),
                b"W" => flags.won = true,
                _ => {}
            }
        }
        flags
    }

    /// The item with this value, if the reply told all that was asked.
    fn item(&self, value: Vec<u8>) -> Option<Item> {
        // -1 stands for ever.
        let seconds_left = u64::try_from(self.ttl?).ok();
        Some(Item { value, flags: self.client, cas: self.cas?, seconds_left })
    }
}

fn kind_of(error: &WireError) -> ErrorKind {
    match error {
        WireError::Io(error) if error.kind() == io::ErrorKind::TimedOut => ErrorKind::Timeout,
        WireError::Io(_) => ErrorKind::Io,
        WireError::Timeout { .. } => ErrorKind::Timeout,
        WireError::Ambiguous { source, .. } => kind_of(source),
        WireError::Server(message) if message.contains("too large") => ErrorKind::TooLarge,
        WireError::Server(_) => ErrorKind::Server,
        WireError::Rejected(_) => ErrorKind::Rejected,
        _ => ErrorKind::Protocol,
    }
}

/// Says what failed where; never what a server said, which could be anything.
fn failed(server: &Server, request: &Request<'_>, kind: ErrorKind) -> Error {
    let why = match kind {
        ErrorKind::Timeout => "gave no answer in time",
        ErrorKind::Io => "broke the connection",
        ErrorKind::Server => "reported an error of its own",
        ErrorKind::Rejected => "did not accept the command",
        ErrorKind::TooLarge => "does not take items of this size",
        _ => "answered with something else than this command's reply",
    };
    Error::new(kind, format!("{server} {why} ({})", request.verb().as_str()))
}

/// No connection in time, or no address: it may be slow, or gone.
fn silent(server: &Server) -> Error {
    Error::new(ErrorKind::Timeout, format!("{server} could not be connected to in time"))
}

/// The call's own doing, not the server's.
fn out_of_time(server: &Server) -> Error {
    Error::new(ErrorKind::OutOfTime, format!("no time was left to ask {server}"))
}

fn refused(server: &Server, why: &str) -> Error {
    Error::new(ErrorKind::Connect, format!("{server} cannot be reached: {why}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(request: &Request<'_>) -> String {
        String::from_utf8(command(request, 7).encode().unwrap()).unwrap()
    }

    #[test]
    fn each_request_is_one_line_of_the_meta_protocol() {
        let lease = Duration::from_secs(30);
        let ttl = Ttl::For(Duration::from_secs(300));
        assert_eq!(text(&Request::Lookup { key: "k", lease }), "mg k O7 v f c t N30\r\n");
        assert_eq!(
            text(&Request::Store { key: "k", value: b"hello", flags: 16, ttl, guard: Guard::Unchanged(3) }),
            "ms k 5 O7 F16 T300 C3\r\nhello\r\n"
        );
        assert_eq!(text(&Request::Delete { key: "k", guard: Guard::None }), "md k O7\r\n");
    }

    #[test]
    fn a_ttl_over_thirty_days_is_a_point_in_time() {
        let days = |days: u64| expiry(Ttl::For(Duration::from_secs(days * 86_400)));
        assert_eq!(expiry(Ttl::Forever), 0);
        assert_eq!(days(30), 2_592_000);
        assert!(days(31) > 1_700_000_000);
        assert_eq!(days(1_000_000), LATEST_EXPIRY);
    }

    #[test]
    fn a_reply_with_another_number_is_refused() {
        let server: Server = "h:1".parse().unwrap();
        let request = Request::Delete { key: "k", guard: Guard::None };
        let reply =
            |line: &[u8]| interpret(&server, &request, 7, MetaResponse::parse_header(line)).map_err(|e| e.kind());
        assert_eq!(reply(b"HD O7"), Ok(Reply::Done));
        assert_eq!(reply(b"HD O6"), Err(ErrorKind::Protocol));
        assert_eq!(reply(b"HD Ox"), Err(ErrorKind::Protocol));
        assert_eq!(reply(b"MN"), Err(ErrorKind::Protocol));
        assert_eq!(reply(b"CLIENT_ERROR bad"), Err(ErrorKind::Rejected));
    }
}
