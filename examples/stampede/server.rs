//! The memcached that processes share: the user's, one started for this, or
//! none.

use std::fmt;
use std::io;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) enum Server {
    /// Those of `MEMCACHED_SERVERS`.
    Given(String),
    /// Ended with this.
    Own(Child, String),
    /// There is no memcached on the path.
    None,
}

impl Server {
    pub(crate) fn find() -> Result<Self, io::Error> {
        match std::env::var("MEMCACHED_SERVERS") {
            Ok(servers) if !servers.trim().is_empty() => Ok(Server::Given(servers)),
            _ => start(),
        }
    }

    /// For `MEMCACHED_SERVERS`.
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

/// Has a server choose a port of the loopback interface.
fn start() -> Result<Server, io::Error> {
    let told = std::env::temp_dir().join(format!("stampede-{}.port", std::process::id()));
    let mut command = Command::new("memcached");
    // The user counts only for root, whom memcached otherwise refuses.
    command.args(["-l", "127.0.0.1", "-p", "-1", "-U", "0", "-u", "root"]).env("MEMCACHED_PORT_FILENAME", &told);
    let child = match command.stdin(Stdio::null()).stdout(Stdio::null()).spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Server::None),
        started => started?,
    };
    // Ended also if it tells no port.
    let mut server = Server::Own(child, String::new());
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let text = std::fs::read_to_string(&told).unwrap_or_default();
        if let (Some(port), Server::Own(_, address)) = (port(&text), &mut server) {
            *address = format!("127.0.0.1:{port}");
            let _ = std::fs::remove_file(&told);
            return Ok(server);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(io::Error::other("memcached was started, but does not say on which port it listens"))
}

/// Of a line such as `TCP INET: 11211`, if all of it has been written.
fn port(text: &str) -> Option<u16> {
    let line = text.split_inclusive('\n').find(|line| line.starts_with("TCP INET:") && line.ends_with('\n'))?;
    line.trim_end().rsplit(' ').next()?.parse().ok()
}
