//! Programs of others that some tests run beside memcached.
//!
//! A test that misses one says so on standard error and passes; in CI, where
//! the variable `CI` is set, it fails. `tests/run.sh` installs all of them.

use std::fmt;
use std::io::Write;
use std::process::{Command, Stdio};

/// Where `tests/run.sh` installs modules of Python's.
pub(crate) const PYTHON_MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/python");

/// What a test may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Django,
    Faketime,
    Memccp,
    /// A network and files of a process's own.
    Namespaces,
    Oteltap,
    Php,
    Prometheus,
    Promtool,
    Pymemcache,
    Python,
    Strace,
    Twemproxy,
    /// The address `::1`.
    Ipv6,
}

impl Tool {
    /// Whether the tool is there. Without it the test has to end, and in CI it
    /// fails here.
    pub(crate) fn is_here(self) -> bool {
        let is_here = self.runs();
        if !is_here {
            let missing = format!("{self} is missing; to get it, {}", self.way_to_get_it());
            assert!(!is_ci(), "{missing}");
            // Past the test harness, which shows only what failed tests print.
            let test = std::thread::current().name().unwrap_or("a test").to_owned();
            let _ = writeln!(std::io::stderr(), "{test} was skipped: {missing}");
        }
        is_here
    }

    fn runs(self) -> bool {
        match self {
            Tool::Django => imports("django") && imports("pymemcache"),
            Tool::Faketime => starts("faketime"),
            Tool::Memccp => starts("memccp") && starts("memccat"),
            Tool::Namespaces => {
                let mut apart = Command::new("unshare");
                silent(apart.args(["-mn", "ip", "link", "set", "lo", "up"])).is_ok_and(|status| status.success())
            }
            Tool::Prometheus => starts("prometheus"),
            Tool::Promtool => starts("promtool"),
            Tool::Oteltap => imports("oteltap"),
            Tool::Pymemcache => imports("pymemcache"),
            Tool::Python => imports("json"),
            Tool::Php => {
                silent(Command::new("php").args(["-r", "new Memcached();"])).is_ok_and(|status| status.success())
            }
            // A container may forbid it to trace.
            Tool::Strace => {
                let mut strace = Command::new("strace");
                silent(strace.args(["-o", "/dev/null", "true"])).is_ok_and(|status| status.success())
            }
            Tool::Twemproxy => twemproxy().is_some(),
            Tool::Ipv6 => std::net::TcpListener::bind("[::1]:0").is_ok(),
        }
    }

    fn way_to_get_it(self) -> &'static str {
        match self {
            Tool::Django => {
                "run `sh tests/run.sh`, or `python3 -m pip install --target target/python django pymemcache`"
            }
            Tool::Faketime => "run `sh tests/run.sh`, or install Debian's package `faketime`",
            Tool::Memccp => "run `sh tests/run.sh`, or install Debian's package `libmemcached-tools`",
            Tool::Namespaces => {
                "run `sh tests/run.sh` as root, or install Debian's packages `util-linux` and `iproute2`"
            }
            Tool::Prometheus | Tool::Promtool => "run `sh tests/run.sh`, or install Debian's package `prometheus`",
            Tool::Oteltap => "run `sh tests/run.sh`, or `python3 -m pip install --target target/python oteltap`",
            Tool::Pymemcache => "run `sh tests/run.sh`, or `python3 -m pip install --target target/python pymemcache`",
            Tool::Python => "install `python3`",
            Tool::Php => "run `sh tests/run.sh`, or install Debian's packages `php-cli` and `php-memcached`",
            Tool::Strace => "run `sh tests/run.sh` where processes may be traced, or install Debian's package `strace`",
            Tool::Twemproxy => "run `sh tests/run.sh`, or install Debian's package `nutcracker`",
            Tool::Ipv6 => "enable IPv6 on the loopback interface",
        }
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Tool::Django => "the Python module `django`",
            Tool::Faketime => "`faketime`",
            Tool::Memccp => "`memccp` with `memccat`",
            Tool::Namespaces => "`unshare` with `ip`",
            Tool::Oteltap => "the Python module `oteltap`",
            Tool::Prometheus => "`prometheus`",
            Tool::Promtool => "`promtool`",
            Tool::Pymemcache => "the Python module `pymemcache`",
            Tool::Python => "`python3`",
            Tool::Php => "`php` with its extension `memcached`",
            Tool::Strace => "`strace`",
            Tool::Twemproxy => "twemproxy's `nutcracker`",
            Tool::Ipv6 => "the address `::1`",
        })
    }
}

/// The program of twemproxy, which Debian has where only root looks.
pub(crate) fn twemproxy() -> Option<&'static str> {
    ["nutcracker", "/usr/sbin/nutcracker"].into_iter().find(|program| starts(program))
}

fn is_ci() -> bool {
    std::env::var_os("CI").is_some_and(|value| !value.is_empty())
}

fn starts(program: &str) -> bool {
    silent(Command::new(program).arg("--version")).is_ok()
}

fn imports(module: &str) -> bool {
    let mut python = Command::new("python3");
    python.args(["-c", &format!("import {module}")]).env("PYTHONPATH", PYTHON_MODULES);
    silent(&mut python).is_ok_and(|status| status.success())
}

fn silent(command: &mut Command) -> std::io::Result<std::process::ExitStatus> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()
}
