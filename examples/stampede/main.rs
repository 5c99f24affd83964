//! Shows what happens when a hot key expires: many callers in several
//! processes, with and without the attribute.
//!
//! Starts its own memcached if one is installed; without, it shows the same in
//! one process.
//!
//! ```text
//! cargo run --example stampede
//! cargo run --example stampede -- --svg stampede.svg
//! MEMCACHED_SERVERS=127.0.0.1:11211 cargo run --example stampede
//! ```

mod callers;
mod plot;
mod processes;
mod recording;
mod server;
mod settings;
mod svg;
mod table;
mod ways;

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use recording::Recording;
use server::Server;
use settings::{Settings, Task};
use ways::Way;

fn main() -> ExitCode {
    let done = settings::from(std::env::args().skip(1)).and_then(|task| match task {
        Task::Show(settings) => show(&settings),
        Task::Call(way, callers, time) => callers::run(way, callers, time),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stampede: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(settings: &Settings) -> Result<(), Box<dyn Error>> {
    let create = |file: &Path| File::create(file).map_err(|error| format!("{}: {error}", file.display()));
    // Fails before the user has waited for the measurements.
    let svg = settings.svg.as_deref().map(create).transpose()?;
    let server = Server::find()?;
    // Without a server, processes share nothing.
    let processes = if server.address().is_some() { settings.processes } else { 1 };
    let callers = settings.processes * settings.callers / processes;
    println!("{server}");
    println!("{}", table::heading(processes, callers, settings.time));

    let mut shown: Vec<(Way, Recording)> = Vec::new();
    for way in Way::ALL {
        let recording = processes::record(way, processes, callers, settings.time, server.address())?;
        println!("{}", table::row(way, &recording));
        shown.push((way, recording));
    }

    print!("{}", plot::of(&shown, settings.time));
    if let Some(mut file) = svg {
        file.write_all(svg::of(&shown, settings.time).as_bytes())?;
    }
    Ok(())
}
