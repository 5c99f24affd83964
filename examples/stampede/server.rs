//! Finds the memcached that the processes share: the user's, one of our own, or
//! none.

use std::fmt;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) enum Server {
    /// The servers of `MEMCACHED_SERVERS`.
    Given(String),
    /// A server that stops when this value is dropped.
    Own(Child, String),
    /// No memcached is on the PATH.
    None,
}

impl Server {
    pub(crate) fn find() -> Result<Self, io::Error> {
        match std::env::var("MEMCACHED_SERVERS") {
            Ok(servers) if !servers.trim().is_empty() => Ok(Server::Given(servers)),
            _ => start(),
        }
    }

    /// The address to set `MEMCACHED_SERVERS` to.
    pub(crate) fn address(&self) -> Option<&str> {
        match self {
            Server::Given(address) | Server::Own(_, address) => Some(address),
            Server::None => None,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Given(servers) => write!(f, "Processes share {servers} (MEMCACHED_SERVERS)."),
            Server::Own(_, address) => write!(f, "Processes share a memcached started for this on {address}."),
            Server::None => write!(
                f,
                "There is no memcached on the PATH, and MEMCACHED_SERVERS is not set:\n\
                 one process, with the store that is built in."
            ),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Server::Own(child, _) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Starts a server on a free port of the loopback interface.
fn start() -> Result<Server, io::Error> {
    let port_file = std::env::temp_dir().join(format!("stampede-{}.port", std::process::id()));
    let mut command = Command::new("memcached");
    // Only root needs `-u`: memcached refuses to run as root without it.
    command.args(["-l", "127.0.0.1", "-p", "-1", "-U", "0", "-u", "root"]).env("MEMCACHED_PORT_FILENAME", &port_file);
    let child = match command.stdin(Stdio::null()).stdout(Stdio::null()).spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Server::None),
        started => started?,
    };
    // Dropping this stops the server, also if it never reports a port.
    let mut server = Server::Own(child, String::new());
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let text = std::fs::read_to_string(&port_file).unwrap_or_default();
        if let (Some(port), Server::Own(_, address)) = (port(&text), &mut server) {
            *address = format!("127.0.0.1:{port}");
            let _ = std::fs::remove_file(&port_file);
            return Ok(server);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::other("memcached was started, but does not say on which port it listens"))
}

/// Reads the port from a line such as `TCP INET: 11211`, once it is complete.
fn port(text: &str) -> Option<u16> {
    let line = text.split_inclusive('\n').find(|line| line.starts_with("TCP INET:") && line.ends_with('\n'))?;
    line.trim_end().rsplit(' ').next()?.parse().ok()
}
