//! What it costs to be sure that a value comes back: encoded as it is stored,
//! against encoded alone.
//!
//! `cargo bench -p memocached --bench encode`

#![allow(missing_docs, reason = "a program")]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use bincode::config::standard;
use bincode::serde::encode_into_std_write;
use memocached::Codec;
use memocached::codec::Bincode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
    email: Option<String>,
    age: u32,
    scores: [u16; 4],
    active: bool,
    kind: Kind,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    Guest,
    Member { since: u32 },
    Staff(String),
}

#[derive(Serialize, Deserialize)]
struct Skips {
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u32>,
    ids: Vec<u32>,
}

/// Read by code of its own, so it is decoded and compared.
#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Transparent(Vec<u8>);

fn user(id: u64) -> User {
    let kind = match id % 3 {
        0 => Kind::Guest,
        1 => Kind::Member { since: 2020 },
        _ => Kind::Staff("office".into()),
    };
    User {
        id,
        name: format!("user {id}"),
        email: id.is_multiple_of(2).then(|| "user@example.com".into()),
        age: 30,
        scores: [1, 300, 5, 9],
        active: true,
        kind,
    }
}

fn main() {
    println!("{:32}{:>12}{:>12}{:>8}", "", "alone", "as stored", "ratio");
    row("u64", &7_u64);
    row("a struct of seven fields", &user(1));
    row("1,000 such structs", &(0..1_000).map(user).collect::<Vec<_>>());
    row("a text of 1 MB", &"x".repeat(1_000_000));
    row("1,000,000 bytes", &vec![7_u8; 1_000_000]);
    row("100,000 numbers", &(0..100_000_u64).map(|n| n * 1_000_003).collect::<Vec<_>>());
    row("a map of 30,000", &(0..30_000_u64).map(|n| (n, n.to_string())).collect::<HashMap<_, _>>());
    row("10,000 texts", &(0..10_000).map(|n| format!("text number {n}")).collect::<Vec<_>>());
    row("skip_serializing_if, not skipped", &Skips { next: Some(1), ids: (0..10_000).collect() });
    row("transparent: decoded, compared", &Transparent(vec![7; 100_000]));
}

fn row<T: Serialize + DeserializeOwned>(name: &str, value: &T) {
    let mut out = Vec::with_capacity(4 << 20);
    let mut alone = || {
        out.clear();
        encode_into_std_write(black_box(value), &mut out, standard()).expect("encodes");
        black_box(&out);
    };
    let alone_once = time(&mut alone);
    let mut out = Vec::with_capacity(4 << 20);
    let mut stored = || {
        out.clear();
        Bincode.encode(black_box(value), &mut out).expect("comes back");
        black_box(&out);
    };
    let stored_once = time(&mut stored);
    let ratio = stored_once / alone_once;
    println!("{name:32}{:>12}{:>12}{ratio:>8.2}", text(alone_once), text(stored_once));
}

fn text(seconds: f64) -> String {
    let nanoseconds = seconds * 1e9;
    if nanoseconds < 1e3 { format!("{nanoseconds:.1}ns") } else { format!("{:.2}µs", nanoseconds / 1e3) }
}

/// The fastest of several rounds: what else runs on the machine only adds.
fn time(run: &mut dyn FnMut()) -> f64 {
    let started = Instant::now();
    run();
    let times = (10_000_000 / started.elapsed().as_nanos().max(1)).clamp(5, 100_000) as u32;
    let round = |_| {
        let started = Instant::now();
        (0..times).for_each(|_| run());
        started.elapsed().as_secs_f64() / f64::from(times)
    };
    (0..7).map(round).fold(f64::INFINITY, f64::min)
}
