//! The real twemproxy in front of real servers.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::folder::Folder;
use super::memcached::{Memcached, until};

/// A proxy, killed when dropped.
pub(crate) struct Twemproxy {
    child: Child,
    pub(crate) port: u16,
    _folder: Folder,
}

impl Twemproxy {
    /// In front of these servers, over which it spreads keys as libmemcached
    /// does; `None` on systems without a package of it.
    pub(crate) fn before(servers: &[&Memcached]) -> Option<Self> {
        let listed: String = servers.iter().map(|server| format!("    - {}:1\n", server.address())).collect();
        loop {
            let mut proxy = Self::start(&listed)?;
            let listens = until("twemproxy to listen", || {
                let ended = proxy.child.try_wait().expect("a child").is_some();
                (ended || hangs_up(proxy.port)).then_some(!ended)
            });
            // Otherwise somebody else has taken a port in the meantime.
            if listens {
                return Some(proxy);
            }
        }
    }

    fn start(listed: &str) -> Option<Self> {
        let (port, statistics, folder) = (free_port(), free_port(), Folder::new());
        let config = format!(
            "pool:\n  listen: 127.0.0.1:{port}\n  hash: md5\n  distribution: ketama\n  timeout: 20000\n  servers:\n{listed}"
        );
        let config = folder.write("nutcracker.yml", &config);
        // Debian has it where only root looks.
        let started = ["nutcracker", "/usr/sbin/nutcracker"].iter().find_map(|program| {
            let mut command = Command::new(program);
            command.args(["-c", &config, "-a", "127.0.0.1", "-s", &statistics.to_string()]);
            command.args(["-p", &folder.path("pid"), "-o", &folder.path("log")]);
            match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                started => Some(started.expect("twemproxy")),
            }
        });
        if started.is_none() {
            eprintln!("not tested: this system has no twemproxy");
        }
        Some(Twemproxy { child: started?, port, _folder: folder })
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Twemproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there is somebody on this port who does not know the meta protocol,
/// and closes the connection to say so.
fn hangs_up(port: u16) -> bool {
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(b"mn\r\n")?;
        stream.read(&mut [0])
    });
    matches!(asked, Ok(0))
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
