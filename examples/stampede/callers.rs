//! One process: its callers, and what they have seen.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant, SystemTime};

use memocached::AsyncClient;
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use crate::recording::{Computation, Recording, Stretch};
use crate::ways::Way;

/// How often each caller calls.
pub(crate) const EVERY: Duration = Duration::from_millis(100);
/// What a process says once it can begin.
pub(crate) const READY: &str = "ready";

/// Says that it is ready, reads when to start, and writes what it has seen.
pub(crate) fn run(way: Way, callers: u32, time: Duration) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let client = AsyncClient::from_env()?;
    // The value is there and so are the connections: what is watched is not a
    // cold start but what comes later, again and again.
    runtime.block_on(way.price(&client));
    println!("{READY}");
    let start = start(std::io::stdin().lock())?;

    let calls = runtime.block_on(async {
        let mut everybody = JoinSet::new();
        for number in 0..callers {
            // One after another, as people come.
            let first = start + EVERY * number / callers;
            everybody.spawn(caller(way, client.clone(), first, start + time));
        }
        everybody.join_all().await.into_iter().flatten()
    });
    let calls = calls.map(|(begin, end)| Stretch { begin: begin - start, end: end - start }).collect();
    let recording = Recording { calls, computations: Computation::all_since(start) };
    Ok(write!(std::io::stdout().lock(), "{recording}")?)
}

/// When to start by the clock on the wall, which is the same for all processes.
fn start(mut told: impl BufRead) -> Result<Instant, Box<dyn Error>> {
    let mut line = String::new();
    told.read_line(&mut line)?;
    let start = SystemTime::UNIX_EPOCH + Duration::from_micros(line.trim_end().parse()?);
    Ok(Instant::now() + start.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Calls again when it is time to, even if the last call has not returned: who
/// waits would otherwise be counted once for all that they wait.
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
