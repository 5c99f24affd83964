//! Processes that read values of groups and invalidate them, while servers are killed,
//! started again, stopped, and lose their stamps.
//!
//! A file has the version of each group; one process writes it. Another file has what was
//! acknowledged: the version that was written before an invalidation returned without an
//! error. A call that begins afterwards must not return an older one.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use memocached::{group, invalidates, memcached};

use crate::support::folder::Folder;
use crate::support::memcached::Memcached;
use crate::support::process::{again, gently, role, under};
use crate::support::tools::Tool;

const PROCESSES: u64 = 8;
const GROUPS: u64 = 16;
const TEST: &str = "behaviour::group_processes::no_process_gets_what_is_older_than_an_acknowledged_invalidation";

group! {
    fn one(id: u64) = "one:<id>";
    fn all() = "all";
}

/// Numbers in a file, which processes share.
struct Numbers(File);

impl Numbers {
    fn open(name: &str) -> Self {
        let path = std::env::var(name).unwrap();
        Numbers(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap())
    }

    fn get(&self, index: u64) -> u64 {
        let mut bytes = [0; 8];
        let _ = self.0.read_at(&mut bytes, index * 8).unwrap();
        u64::from_le_bytes(bytes)
    }

    fn set(&self, index: u64, number: u64) {
        self.0.write_at(&number.to_le_bytes(), index * 8).unwrap();
    }
}

/// What the processes share.
struct World {
    versions: Numbers,
    acknowledged: Numbers,
    computed: AtomicU64,
}

impl World {
    fn open() -> Self {
        let [versions, acknowledged] = ["GROUP_VERSIONS", "GROUP_ACKNOWLEDGED"].map(Numbers::open);
        World { versions, acknowledged, computed: AtomicU64::new(0) }
    }

    fn read(&self, id: u64) -> u64 {
        self.computed.fetch_add(1, Ordering::Relaxed);
        self.versions.get(id)
    }
}

#[memcached(key = "plain:<id>", group = one(id), ttl = 60, skip(world))]
fn plain(world: &World, id: u64) -> u64 {
    world.read(id)
}

#[memcached(key = "plain:<id>", group = [one(id), all()], ttl = 60, version = 2, grace = 60, refresh_ahead = 50, skip(world))]
fn later_version(world: &World, id: u64) -> u64 {
    world.read(id)
}

#[memcached(key = "each:<id>", each(id in ids), group = [all(), one(*id)], ttl = 60, skip(world))]
fn each(world: &World, ids: &[u64]) -> HashMap<u64, u64> {
    ids.iter().map(|id| (*id, world.read(*id))).collect()
}

#[invalidates(one(id))]
fn write(world: &World, id: u64, version: u64) {
    world.versions.set(id, version);
}

/// Writes and invalidates the groups of this process; how often that was acknowledged.
fn writes(world: &World, number: u64, ends: Instant) -> u64 {
    let mut acknowledged = 0;
    for round in 1.. {
        if Instant::now() > ends {
            break;
        }
        let id = number + round % (GROUPS / PROCESSES) * PROCESSES;
        if round % 5 == 0 {
            // What a writer has not reached is told later, and not to the caller.
            write(world, id, round);
        } else {
            world.versions.set(id, round);
            if one(id).invalidate().is_ok() {
                world.acknowledged.set(id, round);
                acknowledged += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(30));
    }
    acknowledged
}

fn reads(world: &World, number: u64, ends: Instant) -> (u64, u64) {
    let (mut reads, mut old, mut round) = (0, 0, 0);
    while Instant::now() < ends {
        round += 1;
        let id = (number * 7 + round) % GROUPS;
        let ids = [id, (id + 5) % GROUPS, (id + 11) % GROUPS];
        let oldest = ids.map(|id| world.acknowledged.get(id));
        let read = match round % 3 {
            0 => [(id, plain(world, id))].into(),
            1 => [(id, later_version(world, id))].into(),
            _ => each(world, &ids),
        };
        reads += read.len() as u64;
        std::thread::sleep(Duration::from_micros(500));
        for (id, oldest) in ids.iter().zip(oldest) {
            if let Some(version) = read.get(id).filter(|version| **version < oldest) {
                old += 1;
                println!("old: {version} of group {id} after {oldest}, function {}", round % 3);
            }
        }
    }
    (reads, old)
}

fn play(number: u64) {
    let world = World::open();
    let ends = Instant::now() + seconds();
    let (acknowledged, read) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| writes(&world, number, ends));
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                scope.spawn({
                    let world = &world;
                    move || reads(world, number * 2 + reader, ends)
                })
            })
            .collect();
        let read: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        (writer.join().unwrap(), read)
    });
    let (reads, old): (u64, u64) = read.into_iter().fold((0, 0), |sum, read| (sum.0 + read.0, sum.1 + read.1));
    println!("found {reads} {old} {acknowledged} {}", world.computed.into_inner());
}

fn seconds() -> Duration {
    Duration::from_secs(std::env::var("GROUP_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(15))
}

/// Spoils the servers until the processes have ended.
fn spoil(servers: &mut [Memcached], ends: Instant) {
    for round in 0.. {
        if Instant::now() > ends {
            return;
        }
        let server = &mut servers[round % 3];
        match round % 4 {
            0 => {
                let port = server.port;
                server.kill();
                std::thread::sleep(Duration::from_millis(100));
                *server = Memcached::restart(port);
            }
            1 => {
                server.freeze();
                std::thread::sleep(Duration::from_millis(400));
                server.thaw();
            }
            _ => {
                for id in 0..GROUPS {
                    server.command(&format!("md memocached:group:one:{id}"));
                }
                server.command("md memocached:group:all");
            }
        }
        std::thread::sleep(Duration::from_millis(900));
    }
}

/// Every other process has a clock that is an hour early or late.
fn at_another_time(number: u64, process: Command) -> Command {
    let hour = match number % 4 {
        1 => "+3600s",
        3 => "-3600s",
        _ => return process,
    };
    if !Tool::Faketime.is_here() {
        return process;
    }
    let mut faketime = Command::new("faketime");
    faketime.args(["--exclude-monotonic", "-f", hour]);
    under(faketime, &process)
}

#[test]
fn no_process_gets_what_is_older_than_an_acknowledged_invalidation() {
    if let Some(role) = role() {
        return play(role.parse().unwrap());
    }
    let folder = Folder::new();
    let mut servers = [(); 3].map(|()| Memcached::start());
    let addresses = servers.each_ref().map(Memcached::address).join(",");
    let start = |number: u64| -> Child {
        let mut process = gently(&at_another_time(number, again(TEST, &number.to_string())));
        process.env("GROUP_VERSIONS", folder.path("versions")).env("GROUP_ACKNOWLEDGED", folder.path("acknowledged"));
        process.env("MEMCACHED_SERVERS", &addresses).env("MEMCACHED_TIMEOUT", "200ms");
        process.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let processes: Vec<Child> = (0..PROCESSES).map(start).collect();
    spoil(&mut servers, Instant::now() + seconds());
    let mut found = [0; 4];
    for process in processes {
        let output = process.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{text}");
        text.lines().filter(|line| line.contains("old: ")).take(5).for_each(|line| println!("{line}"));
        let line = text.lines().find_map(|line| line.split("found ").nth(1)).unwrap();
        line.split(' ').zip(&mut found).for_each(|(number, sum)| *sum += number.parse::<u64>().unwrap());
    }
    let [reads, old, acknowledged, computed] = found;
    println!("{reads} reads, {computed} computed, {acknowledged} invalidations acknowledged, {old} old");
    assert_eq!(old, 0);
    assert!(acknowledged > 100 && computed < reads * 9 / 10, "{found:?}");
}
