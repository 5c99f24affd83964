//! Counts the system calls of a blocking get with `strace`.

use std::process::{Command, Stdio};

use super::blocking::{Blocking, Contender};

pub(crate) fn count(address: &str) {
    Blocking::new(address).setter(Contender::Raw)("bench:calls", &[b'x'; 100]);
    println!("system calls per get of 100 B");
    for contender in Contender::ALL {
        // Both include the system calls of starting up.
        let (few, many) = (calls(contender, address, 1_000), calls(contender, address, 3_000));
        println!("{:<24} {:>6.2}", contender.name(), (many - few) as f64 / 2_000.0);
    }
}

fn calls(contender: Contender, address: &str, times: usize) -> u64 {
    let summary = std::env::temp_dir().join(format!("memocached-{}.calls", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&summary)
        .arg(std::env::current_exe().unwrap())
        .args(["gets", contender.name(), address, &times.to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("strace is installed").success());
    let text = std::fs::read_to_string(&summary).unwrap();
    let _ = std::fs::remove_file(summary);
    // `100.00    0.012345           2      6042        12 total`
    let total = text.lines().find(|line| line.ends_with(" total")).expect("a line of totals");
    total.split_whitespace().nth(3).unwrap().parse().unwrap()
}
