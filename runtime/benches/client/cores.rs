//! Pins this program and the server to cores with `taskset`.
//!
//! Whether a reply comes from the same core or from another one matters more
//! than the choice of the client, and the scheduler decides it. So a single
//! caller is made to share a core with the server.

use std::process::{Command, Stdio};

pub(crate) struct Cores {
    processes: [String; 2],
    count: usize,
}

impl Cores {
    pub(crate) fn of(server: u64) -> Self {
        let processes = [std::process::id().to_string(), server.to_string()];
        Cores { processes, count: std::thread::available_parallelism().unwrap().get() }
    }

    /// Pins both to the last core, since the first one handles interrupts.
    pub(crate) fn share_one(&self) {
        self.keep_on(&(self.count - 1).to_string());
    }

    /// Lets both use all cores.
    pub(crate) fn share_all(&self) {
        self.keep_on(&format!("0-{}", self.count - 1));
    }

    fn keep_on(&self, list: &str) {
        for process in &self.processes {
            let mut command = Command::new("taskset");
            command.args(["-a", "-p", "-c", list, process]).stdout(Stdio::null());
            if !command.status().is_ok_and(|status| status.success()) {
                eprintln!("without `taskset`, the figures of a single caller depend on the scheduler");
            }
        }
    }
}
