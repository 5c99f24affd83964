//! A real receiver of OpenTelemetry's protocol.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::memcached::until;
use super::tools::{PYTHON_MODULES, Tool};
use super::web::free_port;

/// PyPI's oteltap, which `tests/run.sh` installs: it prints what it receives,
/// one JSON object a line.
pub(crate) struct Receiver {
    child: Child,
    port: u16,
}

/// Where the tests run in the background, an interrupt would be ignored.
const OTELTAP: &str = "\
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module('oteltap', run_name='__main__', alter_sys=True)
";

impl Receiver {
    /// `None` where the test has to end without it.
    pub(crate) fn start() -> Option<Self> {
        if !Tool::Oteltap.is_here() {
            return None;
        }
        let port = free_port();
        let child = Command::new("python3")
            .args(["-u", "-c", OTELTAP, "--port", &port.to_string()])
            .env("PYTHONPATH", PYTHON_MODULES)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut receiver = Receiver { child, port };
        until("the receiver to listen", || {
            assert!(receiver.child.try_wait().unwrap().is_none(), "the receiver has ended");
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Some(receiver)
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything received, once the receiver has been ended.
    pub(crate) fn received(mut self) -> Vec<Value> {
        let interrupted = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(interrupted.is_ok_and(|status| status.success()));
        let printed = BufReader::new(self.child.stdout.take().expect("piped"));
        printed.lines().map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok()).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Every object with this field, however deep.
pub(crate) fn all<'a>(value: &'a Value, field: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            if fields.contains_key(field) {
                found.push(value);
            }
            fields.values().for_each(|value| all(value, field, found));
        }
        Value::Array(items) => items.iter().for_each(|value| all(value, field, found)),
        _ => {}
    }
}
