//! A port, or a unix socket, where connections are neither made nor refused.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

/// A listener whose queue is full: the system leaves further connections
/// unanswered, as a firewall does.
pub(crate) struct Full {
    pub(crate) port: u16,
    _listener: Socket,
    _queued: Vec<TcpStream>,
}

impl Full {
    pub(crate) fn new() -> Self {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
        listener.bind(&any.into()).and_then(|()| listener.listen(0)).expect("a free port");
        let address = listener.local_addr().ok().and_then(|address| address.as_socket()).expect("an address");
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
        let queued = std::iter::from_fn(connect).take(100).collect();
        Full { port: address.port(), _listener: listener, _queued: queued }
    }
}

/// The same for a unix socket with this path.
pub(crate) struct FullSocket {
    _listener: Socket,
    _queued: Vec<Socket>,
}

impl FullSocket {
    pub(crate) fn at(path: &str) -> Self {
        let address = SockAddr::unix(path).expect("a path");
        let socket = || Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
        let listener = socket();
        listener.bind(&address).and_then(|()| listener.listen(0)).expect("a free path");
        let connect = || {
            let queued = socket();
            queued.set_nonblocking(true).and_then(|()| queued.connect(&address)).ok().map(|()| queued)
        };
        let queued = std::iter::from_fn(connect).take(100).collect();
        FullSocket { _listener: listener, _queued: queued }
    }
}
