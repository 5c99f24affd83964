//! Parses the command line.

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::ways::Way;

/// The role of this process.
pub(crate) enum Task {
    /// Starts the other processes and shows their recordings.
    Show(Settings),
    /// Is one of the other processes: its way, callers and duration.
    Call(Way, u32, Duration),
}

pub(crate) struct Settings {
    pub(crate) processes: u32,
    /// In each process.
    pub(crate) callers: u32,
    /// How long to record each way.
    pub(crate) time: Duration,
    pub(crate) svg: Option<PathBuf>,
}

const USAGE: &str = "usage: stampede [--processes 4] [--callers 50] [--seconds 3] [--svg FILE]";
/// The subcommand, followed by the way, the number of callers and the seconds.
const CALL: &str = "call";

pub(crate) fn from(arguments: impl Iterator<Item = String>) -> Result<Task, Box<dyn Error>> {
    let mut arguments = arguments.peekable();
    if arguments.next_if(|first| first == CALL).is_some() {
        let name = arguments.next().unwrap_or_default();
        let way = Way::ALL.into_iter().find(|way| way.name() == name).ok_or(USAGE)?;
        return Ok(Task::Call(way, number(arguments.next())?, seconds(arguments.next())?));
    }
    let mut settings = Settings { processes: 4, callers: 50, time: Duration::from_secs(3), svg: None };
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--processes" => settings.processes = number(arguments.next())?,
            "--callers" => settings.callers = number(arguments.next())?,
            "--seconds" => settings.time = seconds(arguments.next())?,
            "--svg" => settings.svg = Some(arguments.next().ok_or(USAGE)?.into()),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(Task::Show(settings))
}

/// Returns the command line of [`Task::Call`].
pub(crate) fn to_call(way: Way, callers: u32, time: Duration) -> [String; 4] {
    [CALL.into(), way.name().into(), callers.to_string(), time.as_secs_f64().to_string()]
}

fn number(text: Option<String>) -> Result<u32, &'static str> {
    text.and_then(|text| u32::from_str(&text).ok()).filter(|number| (1..=1_000).contains(number)).ok_or(USAGE)
}

fn seconds(text: Option<String>) -> Result<Duration, &'static str> {
    let seconds = text.and_then(|text| f64::from_str(&text).ok()).filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or(USAGE)
}
