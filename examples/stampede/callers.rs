//! Runs the callers of one process and records what they see.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant, SystemTime};

use memocached::AsyncClient;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::recording::{Computation, Recording, Stretch};
use crate::ways::Way;

/// The time between two calls of one caller.
pub(crate) const EVERY: Duration = Duration::from_millis(100);
/// The line a process prints once it is ready to start.
pub(crate) const READY: &str = "ready";

/// Reports that it is ready, reads the start time, and writes its recording.
pub(crate) fn run(way: Way, callers: u32, time: Duration) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = AsyncClient::from_env()?;
    // The value is cached and the connections are open: the example measures
    // the expiries of a warm cache, not a cold start.
    runtime.block_on(way.price(&client));
    println!("{READY}");
    let start = start(std::io::stdin().lock())?;

    let calls = runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for number in 0..callers {
            // Staggered, as callers in production are.
            let first = start + EVERY * number / callers;
            tasks.spawn(caller(way, client.clone(), first, start + time));
        }
        tasks.join_all().await.into_iter().flatten()
    });
    let calls = calls.map(|(begin, end)| Stretch { begin: begin - start, end: end - start }).collect();
    let recording = Recording { calls, computations: Computation::all_since(start) };
    Ok(write!(std::io::stdout().lock(), "{recording}")?)
}

/// Reads the start time, by the wall clock that all processes share.
fn start(mut input: impl BufRead) -> Result<Instant, Box<dyn Error>> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let start = SystemTime::UNIX_EPOCH + Duration::from_micros(line.trim_end().parse()?);
    Ok(Instant::now() + start.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Calls on schedule, even if the last call has not returned: a caller that
/// waits would otherwise record one slow call in place of several.
async fn caller(way: Way, client: AsyncClient, first: Instant, end: Instant) -> Vec<(Instant, Instant)> {
    let mut calls = JoinSet::new();
    let mut due = first;
    while due < end {
        sleep_until(due.into()).await;
        let (begin, client) = (Instant::now(), client.clone());
        calls.spawn(async move {
            way.price(&client).await;
            (begin, Instant::now())
        });
        due += EVERY;
    }
    calls.join_all().await
}
