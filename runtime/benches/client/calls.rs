//! System calls for each blocking get, counted by `strace`.

use std::process::{Command, Stdio};

use super::blocking::{Blocking, Who};

pub(crate) fn count(address: &str) {
    Blocking::new(address).setter(Who::Raw)("bench:calls", &[b'x'; 100]);
    println!("system calls for each get of 100 B");
    for who in Who::ALL {
        // What starting takes is in both.
        let (few, many) = (calls(who, address, 1_000), calls(who, address, 3_000));
        println!("{:<24} {:>6.2}", who.name(), (many - few) as f64 / 2_000.0);
    }
}

fn calls(who: Who, address: &str, times: usize) -> u64 {
    let summary = std::env::temp_dir().join(format!("memocached-{}.calls", std::process::id()));
    let status = Command::new("strace")
        .args(["-f", "-c", "-o"])
        .arg(&summary)
        .arg(std::env::current_exe().unwrap())
        .args(["gets", who.name(), address, &times.to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("strace is installed").success());
    let text = std::fs::read_to_string(&summary).unwrap();
    let _ = std::fs::remove_file(summary);
    // `100.00    0.012345           2      6042        12 total`
    let total = text.lines().find(|line| line.ends_with(" total")).expect("a last line");
    total.split_whitespace().nth(3).unwrap().parse().unwrap()
}
