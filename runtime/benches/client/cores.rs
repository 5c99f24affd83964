//! Which cores this program and the server run on, with the help of
//! `taskset`.
//!
//! Whether a reply comes from the same core or from another one makes more of
//! a difference than any client does, and is for the scheduler to choose: one
//! caller at a time shares a core with the server here.

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

    /// Keeps both on the last core: the first has interrupts to see to.
    pub(crate) fn share_one(&self) {
        self.keep_on(&(self.count - 1).to_string());
    }

    /// Lets both have all cores.
    pub(crate) fn share_all(&self) {
        self.keep_on(&format!("0-{}", self.count - 1));
    }

    fn keep_on(&self, list: &str) {
        for process in &self.processes {
            let mut command = Command::new("taskset");
            command.args(["-a", "-p", "-c", list, process]).stdout(Stdio::null());
            if !command.status().is_ok_and(|status| status.success()) {
                eprintln!("without taskset, the figures of one caller depend on the scheduler");
            }
        }
    }
}
