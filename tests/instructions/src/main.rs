//! How many instructions a call of a memoized function takes, compared with what it took
//! before.
//!
//! ```text
//! cargo run --release -p instructions              # compares with counts.txt
//! cargo run --release -p instructions -- --update  # writes it
//! ```
//!
//! Each case runs twice under callgrind with different numbers of calls, against a real
//! memcached: the difference is what the calls take. Time on a busy machine does not
//! change it, but another compiler or C library does: only counts by the same are compared.

#[path = "../../../examples/support/server.rs"]
mod server;

use std::env;
use std::error::Error;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use memocached::{Cache, Mode, memcached, with_mode};
use server::Server;

/// A case: its name, and what makes so many calls.
type Case = (&'static str, fn(&Cache, u64));

const CASES: [Case; 5] = [
    ("hit", |cache, calls| repeat(calls, |_| far(cache, 7))),
    ("near_hit", |cache, calls| repeat(calls, |_| near(cache, 7))),
    ("miss", |cache, calls| repeat(calls, |call| far(cache, 1_000 + call))),
    ("batch_of_100", |cache, calls| repeat(calls / 20, |_| batch(cache, &NUMBERS))),
    ("bypass", |cache, calls| repeat(calls, |_| with_mode(Mode::Bypass, || far(cache, 7)))),
];

const NUMBERS: [u64; 100] = {
    let mut numbers = [0; 100];
    let mut index = 0;
    while index < 100 {
        numbers[index] = index as u64;
        index += 1;
    }
    numbers
};

/// How many calls the two runs make.
const CALLS: [u64; 2] = [400, 2_400];

/// The share by which a count may differ.
const TOLERANCE: f64 = 0.03;

#[memcached(key = "far:<n>", ttl = 600, cache = cache, skip(cache))]
fn far(cache: &Cache, n: u64) -> u64 {
    n * n
}

#[memcached(key = "near:<n>", ttl = 600, near = 600, cache = cache, skip(cache))]
fn near(cache: &Cache, n: u64) -> u64 {
    n * n
}

#[memcached(key = "batch:<n>", each(n in numbers), ttl = 600, cache = cache, skip(cache))]
fn batch(cache: &Cache, numbers: &[u64]) -> Vec<u64> {
    numbers.iter().map(|n| n * n).collect()
}

fn repeat<T>(calls: u64, mut call: impl FnMut(u64) -> T) {
    for number in 0..calls {
        black_box(call(black_box(number)));
    }
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["--update"] => update(),
        ["run", case, calls, socket] => run(case, calls.parse()?, socket),
        _ => Err("run it without arguments, or with --update".into()),
    }
}

/// Makes the calls of a case, under callgrind.
fn run(case: &str, calls: u64, socket: &str) -> Result<ExitCode, Box<dyn Error>> {
    // A time-out would end calls, which are slow here.
    let patience = Duration::from_secs(60);
    let cache = Cache::builder().servers(socket).timeout(patience).connect_timeout(patience).jitter(0).build()?;
    let (_, work) = CASES.iter().find(|(name, _)| *name == case).ok_or("no such case")?;
    // What the first call does is not counted.
    batch(&cache, &NUMBERS);
    work(&cache, 20);
    work(&cache, calls);
    Ok(ExitCode::SUCCESS)
}

fn compare() -> Result<ExitCode, Box<dyn Error>> {
    let before = std::fs::read_to_string(counts_file())?;
    let environment = environment()?;
    if before.lines().next() != Some(&environment) {
        println!("not compared: counts.txt was not written with {environment}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for (name, now) in counted()? {
        let before = before.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let before = before.ok_or_else(|| format!("counts.txt has no count of {name}"))?;
        let change = now as f64 / before as f64 - 1.0;
        println!("{name:12} {now:8} instructions, {:+.1} %", change * 100.0);
        if change.abs() > TOLERANCE {
            code = ExitCode::FAILURE;
        }
    }
    if code != ExitCode::SUCCESS {
        println!("more than {} % apart; write the new counts with --update if that is meant", TOLERANCE * 100.0);
    }
    Ok(code)
}

fn update() -> Result<ExitCode, Box<dyn Error>> {
    let counts = counted()?.into_iter().map(|(name, count)| format!("{name} {count}\n"));
    let text = format!("{}\n", environment()?) + &counts.collect::<String>();
    print!("{text}");
    std::fs::write(counts_file(), text)?;
    Ok(ExitCode::SUCCESS)
}

/// What one call of each case takes.
fn counted() -> Result<Vec<(&'static str, u64)>, Box<dyn Error>> {
    server::in_folder("instructions", |folder| {
        let server = Server::start(folder.join("socket"))?;
        let count = |(name, _): &Case| {
            let [few, many] = CALLS.map(|calls| instructions(&server, name, calls, folder));
            let calls = CALLS[1] - CALLS[0];
            let calls = if name.starts_with("batch") { calls / 20 } else { calls };
            Ok((*name, many?.saturating_sub(few?) / calls))
        };
        CASES.iter().map(count).collect()
    })
}

/// All instructions of a process that makes so many calls. Each starts with an empty
/// server.
fn instructions(server: &Server, case: &str, calls: u64, folder: &Path) -> Result<u64, Box<dyn Error>> {
    std::io::Write::write_all(&mut std::os::unix::net::UnixStream::connect(&server.socket)?, b"flush_all\r\nquit\r\n")?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(env::current_exe()?);
    command.args(["run", case, &calls.to_string()]).arg(format!("unix://{}", server.socket.display()));
    let output = command.current_dir(folder).env_clear().output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    let collected = told.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match collected.filter(|_| output.status.success()) {
        Some(count) => Ok(count),
        None => Err(format!("callgrind has failed: {told}").into()),
    }
}

fn counts_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("counts.txt")
}

/// What the counts depend on beside the code: the compiler, the C library, and which
/// instructions that chooses by the processor.
fn environment() -> Result<String, Box<dyn Error>> {
    let first_line = |program: &str, argument: &str| -> Result<String, Box<dyn Error>> {
        let output = String::from_utf8(Command::new(program).arg(argument).output()?.stdout)?;
        Ok(output.lines().next().unwrap_or_default().to_owned())
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has = |feature: &&&str| processor.split_whitespace().any(|word| word == **feature);
    let features: Vec<_> = ["avx2", "avx512f", "erms", "fsrm"].iter().filter(has).copied().collect();
    Ok([first_line("rustc", "-V")?, first_line("ldd", "--version")?, features.join(" ")].join("; "))
}
