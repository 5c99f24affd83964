//! Starts a memcached behind a socket.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A memcached that ends with this.
pub(crate) struct Server {
    pub(crate) socket: PathBuf,
    process: Child,
}

impl Server {
    pub(crate) fn start(socket: PathBuf) -> io::Result<Self> {
        let mut command = Command::new("memcached");
        // Only root needs `-u`: memcached refuses to run as root without it.
        command.args(["-u", "root", "-s"]).arg(&socket).stdin(Stdio::null());
        let server = Server { process: command.spawn()?, socket };
        let deadline = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(&server.socket).is_err() {
            if Instant::now() > deadline {
                return Err(io::Error::other("memcached does not listen"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Does something in a new folder that it may put sockets and files into, and removes
/// that.
pub(crate) fn in_folder<T, E: From<io::Error>>(name: &str, run: impl FnOnce(&Path) -> Result<T, E>) -> Result<T, E> {
    let folder = std::env::temp_dir().join(format!("memocached-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let outcome = run(&folder);
    std::fs::remove_dir_all(&folder)?;
    outcome
}
