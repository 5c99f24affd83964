//! The real twemproxy in front of real servers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use super::folder::Folder;
use super::memcached::{Memcached, until};
use super::tools::{Tool, twemproxy};
use super::web::free_port;

/// A proxy, killed when dropped.
pub(crate) struct Twemproxy {
    child: Child,
    pub(crate) port: u16,
    _folder: Folder,
}

impl Twemproxy {
    /// In front of these servers, over which it spreads keys as libmemcached
    /// does; `None` where the test has to end without it.
    pub(crate) fn before(servers: &[&Memcached]) -> Option<Self> {
        let program = Tool::Twemproxy.is_here().then(twemproxy).flatten()?;
        let listed: String = servers.iter().map(|server| format!("    - {}:1\n", server.address())).collect();
        loop {
            let mut proxy = Self::start(program, &listed);
            let listens = until("twemproxy to listen", || {
                let ended = proxy.child.try_wait().expect("a child").is_some();
                (ended || hangs_up(proxy.port)).then_some(!ended)
            });
            // Otherwise another process has taken a port in the meantime.
            if listens {
                return Some(proxy);
            }
        }
    }

    fn start(program: &str, listed: &str) -> Self {
        let (port, statistics, folder) = (free_port(), free_port(), Folder::new());
        let config = format!(
            "pool:\n  listen: 127.0.0.1:{port}\n  hash: md5\n  distribution: ketama\n  timeout: 20000\n  servers:\n{listed}"
        );
        let config = folder.write("nutcracker.yml", &config);
        let mut command = Command::new(program);
        command.args(["-c", &config, "-a", "127.0.0.1", "-s", &statistics.to_string()]);
        command.args(["-p", &folder.path("pid"), "-o", &folder.path("log")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Twemproxy { child: command.spawn().expect("twemproxy"), port, _folder: folder }
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

/// Whether the listener on this port closes the connection because it does not
/// know the meta protocol.
fn hangs_up(port: u16) -> bool {
    let asked = TcpStream::connect(("127.0.0.1", port)).and_then(|mut stream| {
        stream.write_all(b"mn\r\n")?;
        stream.read(&mut [0])
    });
    matches!(asked, Ok(0))
}
