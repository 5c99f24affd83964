//! Starts several processes of callers at the same moment and merges their
//! recordings.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::callers::READY;
use crate::recording::Recording;
use crate::settings::to_call;
use crate::ways::Way;

/// The time between the last process being ready and the start.
const SOON: Duration = Duration::from_millis(20);

pub(crate) fn record(
    way: Way,
    processes: u32,
    callers: u32,
    time: Duration,
    servers: Option<&str>,
) -> Result<Recording, Box<dyn Error>> {
    let start = |_| Process::start(way, callers, time, servers);
    let mut processes: Vec<Process> = (0..processes).map(start).collect::<Result<_, _>>()?;
    for process in &mut processes {
        process.wait_until_ready()?;
    }
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)? + SOON;
    for process in &mut processes {
        process.start_at(start)?;
    }
    let mut recording = Recording::default();
    for process in processes {
        process.read(&mut recording)?;
    }
    Ok(recording)
}

/// This program again, as one process of several.
struct Process {
    child: Child,
    says: Box<dyn BufRead>,
}

impl Process {
    fn start(way: Way, callers: u32, time: Duration, servers: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(to_call(way, callers, time)).stdin(Stdio::piped()).stdout(Stdio::piped());
        // Nothing is left of an earlier run, and other programs' keys are safe.
        command.env("MEMCACHED_NAMESPACE", format!("stampede-{}", std::process::id()));
        // One small machine can be slow under this load. A call that times out
        // computes, and the example does not measure that.
        command.env("MEMCACHED_TIMEOUT", "2s");
        if let Some(servers) = servers {
            command.env("MEMCACHED_SERVERS", servers);
        }
        let mut child = command.spawn()?;
        let says = Box::new(BufReader::new(child.stdout.take().ok_or("no output")?));
        Ok(Process { child, says })
    }

    fn wait_until_ready(&mut self) -> Result<(), Box<dyn Error>> {
        let mut line = String::new();
        self.says.read_line(&mut line)?;
        if line.trim_end() == READY { Ok(()) } else { Err("a process did not become ready".into()) }
    }

    fn start_at(&mut self, start: Duration) -> Result<(), Box<dyn Error>> {
        let mut stdin = self.child.stdin.take().ok_or("no input")?;
        Ok(writeln!(stdin, "{}", start.as_micros())?)
    }

    fn read(mut self, recording: &mut Recording) -> Result<(), Box<dyn Error>> {
        for line in self.says.lines() {
            recording.read(&line?)?;
        }
        if self.child.wait()?.success() { Ok(()) } else { Err("a process failed".into()) }
    }
}
