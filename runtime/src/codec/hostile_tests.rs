//! Tests with bytes crafted to exhaust memory, stack or time.
//!
//! Each codec must refuse them within half a gibibyte of address space and in
//! bounded time.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Standard;

#[derive(PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Branch(Box<Tree>),
    Pair(Vec<Tree>),
    Leaf,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct List {
    value: u8,
    next: Option<Box<List>>,
}

/// Whether the bytes are refused by every type of the list.
fn is_refused(codec: Standard, bytes: &[u8]) -> bool {
    fn refuses<T: Serialize + serde::de::DeserializeOwned>(codec: Standard, bytes: &[u8]) -> bool {
        let refused = codec.boxed::<T>().decode(bytes).is_err();
        if !refused {
            println!("{codec:?} takes {} bytes for {}", bytes.len(), std::any::type_name::<T>());
        }
        refused
    }
    refuses::<Vec<u64>>(codec, bytes)
        & refuses::<Vec<u128>>(codec, bytes)
        & refuses::<Vec<[u64; 32]>>(codec, bytes)
        & refuses::<Vec<String>>(codec, bytes)
        & refuses::<Vec<Vec<Vec<u8>>>>(codec, bytes)
        & refuses::<HashMap<u64, Vec<u8>>>(codec, bytes)
        & refuses::<BTreeMap<String, u64>>(codec, bytes)
        & refuses::<Vec<()>>(codec, bytes)
        & refuses::<HashSet<Unit>>(codec, bytes)
        & refuses::<Vec<(Unit, [u8; 0])>>(codec, bytes)
        & refuses::<HashMap<(), ()>>(codec, bytes)
        & refuses::<Tree>(codec, bytes)
        & refuses::<List>(codec, bytes)
}

/// Huge lengths of 64 and of 32 bits, in each binary codec's encoding.
const HUGE: [&[u8]; 4] = [
    &[0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
    &[0xfc, 0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xff, 0xff, 0xff, 0xff, 0x07],
];

fn bombs() -> Vec<Vec<u8>> {
    const MEBIBYTE: usize = 1 << 20;
    let mut bombs: Vec<Vec<u8>> = HUGE.iter().map(|huge| huge.to_vec()).collect();
    for huge in HUGE {
        // Followed by other bytes, and nested in one another.
        bombs.push([huge, &[0; 64]].concat());
        bombs.push([&[0xfb, 0xff, 0xff][..], &huge.repeat(1_000)].concat());
        bombs.push(huge.repeat(MEBIBYTE / huge.len()));
    }
    // Deep nesting: branches in branches, pairs in pairs, links of a list.
    bombs.push(vec![0; MEBIBYTE]);
    bombs.push([1, 1].repeat(MEBIBYTE / 2));
    bombs.push(b"[".repeat(MEBIBYTE));
    bombs.push(b"{\"Branch\":".repeat(MEBIBYTE / 10));
    bombs.push(b"{\"value\":1,\"next\":".repeat(MEBIBYTE / 18));
    bombs
}

#[test]
fn bombs_are_refused_in_little_memory_and_time() {
    const ROLE: &str = "MEMOCACHED_TEST_BOMBS";
    const TEST: &str = "codec::hostile_tests::bombs_are_refused_in_little_memory_and_time";
    if std::env::var_os(ROLE).is_none() {
        let test = std::env::current_exe().expect("this program has a path");
        let limited = "ulimit -v 524288; exec \"$0\" --exact \"$1\" --nocapture --test-threads=1";
        let child = Command::new("sh").args(["-c", limited]).arg(test).arg(TEST).env(ROLE, "child").output();
        let child = child.expect("a shell");
        let printed = [child.stdout, child.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        assert!(child.status.success() && printed.contains("1 passed"), "{}: {printed}", child.status);
        return;
    }
    let (mut refused, mut slowest) = (true, Duration::ZERO);
    for codec in [Standard::Bincode, Standard::Postcard, Standard::Json] {
        for bomb in bombs() {
            let started = Instant::now();
            refused &= is_refused(codec, &bomb);
            slowest = slowest.max(started.elapsed());
        }
    }
    println!("slowest: {slowest:?} for thirteen types");
    assert!(refused, "a bomb was decoded as a value");
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
}

#[test]
fn only_a_value_nested_too_deeply_is_refused() {
    let deep = |levels: usize| (0..levels).fold(Tree::Leaf, |tree, _| Tree::Branch(Box::new(tree)));
    for codec in [Standard::Bincode, Standard::Postcard, Standard::Json] {
        let codec = codec.boxed::<Tree>();
        let mut bytes = Vec::new();
        codec.encode(&deep(60), &mut bytes).expect("sixty levels fit");
        assert_eq!(codec.decode(&bytes).unwrap(), deep(60));
        // Few enough levels that dropping the value does not overflow the stack.
        assert!(codec.encode(&deep(10_000), &mut Vec::new()).is_err());
    }
}
