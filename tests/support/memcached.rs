//! A real memcached on a free port of the loopback interface.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use memocached::Cache;

const LOOPBACK: &str = "127.0.0.1";

/// A server, killed when dropped.
pub(crate) struct Memcached {
    child: Child,
    /// Where the tests themselves ask it.
    host: String,
    pub(crate) port: u16,
}

impl Memcached {
    /// Starts a server on a port of its own choice.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with these arguments more.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let server = Self::on("127.0.0.1", arguments);
        server.wait();
        server
    }

    /// Starts a server on this address with further arguments, and waits until it
    /// listens; these arguments say which clients it answers.
    pub(crate) fn on(address: &str, arguments: &[&str]) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let file = std::env::temp_dir().join(format!("memocached-{}-{number}.port", std::process::id()));
        let mut command = command(address, "-1");
        command.args(arguments).env("MEMCACHED_PORT_FILENAME", &file);
        let child = command.spawn().expect("memcached: run `sh tests/run.sh`");
        let port = until("the server to tell its port", || {
            let text = std::fs::read_to_string(&file).ok()?;
            text.lines().find_map(|line| line.strip_prefix("TCP INET"))?.rsplit(' ').next()?.parse().ok()
        });
        let _ = std::fs::remove_file(&file);
        Memcached { child, host: LOOPBACK.into(), port }
    }

    /// Starts a server behind a unix socket, which has no port.
    #[cfg(unix)]
    pub(crate) fn behind(socket: &str, arguments: &[&str]) -> Self {
        let child = command("127.0.0.1", "0").args(["-s", socket]).args(arguments).spawn().expect("memcached");
        until("the socket", || std::os::unix::net::UnixStream::connect(socket).ok());
        Memcached { child, host: LOOPBACK.into(), port: 0 }
    }

    /// Starts a server where another one was.
    pub(crate) fn restart(port: u16) -> Self {
        Self::at(LOOPBACK, port)
    }

    /// Starts a server at this address and port.
    pub(crate) fn at(host: &str, port: u16) -> Self {
        let child = command(host, &port.to_string()).spawn().expect("memcached");
        let server = Memcached { child, host: host.into(), port };
        server.wait();
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// A cache on this server alone.
    pub(crate) fn cache(&self) -> Cache {
        Cache::builder().servers(self.address()).timeout(Duration::from_secs(2)).build().expect("a valid server")
    }

    /// The first line of the answer to a command, as an outsider sees it.
    pub(crate) fn command(&self, line: &str) -> String {
        let mut stream = self.connect().expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout is set");
        write!(stream, "{line}\r\n").expect("the server reads");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).expect("the server answers");
        answer.trim_end().to_owned()
    }

    /// How many seconds the item is kept for.
    pub(crate) fn seconds_left(&self, key: &str) -> Option<u64> {
        let answer = self.command(&format!("mg {key} t"));
        answer.strip_prefix("HD t")?.split_whitespace().next()?.parse().ok()
    }

    /// The stored bytes of `key`.
    pub(crate) fn stored(&self, key: &str) -> Option<Vec<u8>> {
        let mut stream = self.connect().expect("the server listens");
        write!(stream, "mg {key} v\r\nquit\r\n").expect("the server reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the server answers");
        let end = answer.windows(2).position(|pair| pair == b"\r\n")?;
        answer.starts_with(b"VA ").then(|| answer[end + 2..answer.len() - 2].to_vec())
    }

    /// Stores bytes under `key` with these flags.
    pub(crate) fn store(&self, key: &str, flags: u32, value: &[u8]) {
        let mut stream = self.connect().expect("the server listens");
        let head = format!("ms {key} {} F{flags} T60\r\n", value.len());
        stream.write_all(&[head.as_bytes(), value, b"\r\nquit\r\n"].concat()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        assert_eq!(answer, "HD\r\n");
    }

    /// A counter of the server, such as `cmd_set`.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let mut stream = self.connect().expect("the server listens");
        write!(stream, "stats\r\nquit\r\n").expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        let line = answer.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.and_then(|number| number.trim().parse().ok()).expect("a number")
    }

    /// How many items it holds, but for the one that tells its life.
    pub(crate) fn items(&self) -> u64 {
        self.stat("curr_items") - u64::from(self.stored("memocached:life").is_some())
    }

    /// Stops the server where it is; its sockets stay open.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
        // Its threads stop a moment after they are told to.
        until("the server to stop", || is_stopped(self.child.id()).then_some(()));
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Ends it if it is still there, where it will not be dropped.
    pub(crate) fn end(&self) {
        let _ = Command::new("kill").args(["-KILL", &self.child.id().to_string()]).stderr(Stdio::null()).status();
    }

    fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect((self.host.as_str(), self.port))
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(name).arg(self.child.id().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "kill {name}");
    }

    /// Waits for an answer, so that this connection is counted before any other.
    fn wait(&self) {
        until("the server to answer", || {
            let mut stream = self.connect().ok()?;
            stream.write_all(b"version\r\n").ok()?;
            (stream.read(&mut [0; 8]).ok()? > 0).then_some(())
        });
    }
}

impl Drop for Memcached {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether all threads of a process have been stopped, where that can be seen.
fn is_stopped(process: u32) -> bool {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{process}/task")) else { return true };
    threads.map_while(Result::ok).all(|thread| {
        let state = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        state.rsplit(") ").next().is_some_and(|state| state.starts_with('T'))
    })
}

/// Waits for something that happens in another process.
pub(crate) fn until<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(value) = happened() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn command(address: &str, port: &str) -> Command {
    let mut command = Command::new("memcached");
    // The user counts only for root, as which memcached otherwise does not run.
    command.args(["-p", port, "-l", address, "-U", "0", "-u", "root", "-m", "64"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}
