//! The real twemproxy in front of real servers.

use std::io::ErrorKind;
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
        let (port, statistics) = (free_port(), free_port());
        let folder = Folder::new();
        let listed: String = servers.iter().map(|server| format!("    - {}:1\n", server.address())).collect();
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
        let Some(child) = started else {
            eprintln!("not tested: this system has no twemproxy");
            return None;
        };
        until("twemproxy to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Some(Twemproxy { child, port, _folder: folder })
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

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
