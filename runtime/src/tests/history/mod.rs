//! Random histories of calls and changes, checked against what they promise: a call
//! that begins after an acknowledged change never gets what is older.
//!
//! A *database* has rows whose versions are counted. The body of a call reads the
//! version of its row. A *change* commits the next version, and then deletes, puts,
//! invalidates or refreshes the entry, or deletes or overwrites it by a client. It is
//! acknowledged when that has returned without an error; a refresh, which returns none,
//! when it has returned and nothing was lost on the way meanwhile. (Without a value, an
//! async one removes what was there after it has returned, and does not count. On a real
//! server, what is lost is not known, and no refresh counts.)
//!
//! A *writer* (`invalidates`, `updates`, `writing`) marks the entry, commits, and removes
//! or replaces it. It is acknowledged when it has ended, dropped midway or not, and
//! nothing is left that its process is still to remove. One that is killed after it has
//! committed is acknowledged eleven seconds later, if no change without marks and no
//! eviction took place meanwhile, nor could arrive late: it may have removed the mark.
//!
//! Some rows are members of *teams*. Their values are in two groups, and changes of all
//! members of a team, or of all teams, invalidate the group, or mark it.
//!
//! A call may return a version only if it is as new as that of each change
//! acknowledged before the call began, with these exceptions:
//!
//! - A function with `near` may overlook, for that time, a change by another process.
//! - A function with `grace` may overlook, for that time, an invalidation by a
//!   function with `grace`. A change of any other kind counts at once. An invalidation of a
//!   group by `invalidate_softly` it may overlook for its ttl and that time: the time begins
//!   when the invalidation is found out, and ends with the item. One with `near` as well may
//!   overlook it for both times: it may return what was served that long ago.
//! - While a process leaves a server alone, its calls cannot know of changes.
//!
//! Nor may it return what was stored longer ago than the ttl and its own `grace` and
//! `near`, whatever those of the function that stored it. `idle` makes that longer only by
//! the time that a push is on its way, on the rows for which there is such a function. A
//! value that a body has found `unchanged` counts as stored within a ttl from then.
//!
//! Several processes are several caches on one store, of two releases: the later one's
//! functions have grace. Time is set by hand, packets are late and lost, in part or as a
//! whole, and arrive after they were given up, before time goes on. Calls and writers are dropped, leases end
//! early, items are evicted. The rest is the order in which tasks run, which the seed
//! decides, and how long waiting takes, which it does not. Threads that block take turns
//! with the tasks. A put is not raced by another change: of two, the last one to arrive
//! stays. One that failed may still arrive.
//!
//! A real server is killed and started again, and its replies are late or lost. In the
//! classic protocol it is not: there, a lease may outlive it. Nor do values tell their time
//! there, so that `grace`, `idle` and the elections of `refresh_ahead` have no effect.

mod functions;
mod process;
mod world;

use std::sync::Arc;
use std::time::Instant;

use crate::cache::Cache;
use crate::config::Settings;
use crate::config::jitter::Jitter;
use crate::store::Store;
use crate::tests::network::Dice;
use crate::time::clock::Clock;
use process::Process;
use world::{ROWS, SECOND, Slack, World};

/// Processes of two releases run side by side.
const PROCESSES: usize = 4;

/// So many operations, or what the environment says.
fn operations(usual: u64) -> u64 {
    std::env::var("HISTORY_OPERATIONS").map_or(usual, |number| number.parse().expect("a number of operations"))
}

/// What the environment says, or this seed.
fn seed(usual: u64) -> u64 {
    std::env::var("HISTORY_SEED").map_or(usual, |number| number.parse().expect("a seed"))
}

/// Tasks under way at once.
const TASKS: usize = 48;

#[test]
fn no_call_gets_what_is_older_than_an_acknowledged_change() {
    let (clock, seed) = (Clock::manual(), seed(1));
    let settings = Settings { jitter: Jitter(0), ..Settings::default() };
    let world = World::new(&clock, Slack::default(), seed);
    let first = Cache::at(settings, &clock).expect("settings that can be used");
    let Store::Embedded(store, _) = &**first.store() else { unreachable!("there are no servers") };
    store.network.spoil(Dice::new(seed + 1));
    let process = |number| {
        let cache = first.in_another_process(&clock);
        Arc::new(Process { number, cache, world: Arc::clone(&world) })
    };
    let processes: Vec<_> = (0..PROCESSES).map(process).collect();
    let begun = Instant::now();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let operations = operations(100_000);
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..operations {
            while tasks.len() >= TASKS {
                tasks.join_next().await.expect("a task").expect("it does not panic");
            }
            let process = &processes[world.dice.roll(processes.len() as u64) as usize];
            tasks.spawn(Arc::clone(process).acts(world.dice.roll(ROWS as u64) as usize));
            if world.dice.roll(20) == 0 {
                store.network.lose_strays();
                clock.advance(SECOND / 10 * (1 + world.dice.roll(15) as u32));
            }
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("it does not panic");
        }
    });
    world.conclude(operations, seed, begun);
}

/// The same on a real server, whose replies are late and lost, and which is killed and
/// started again.
#[cfg(feature = "servers")]
mod real {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::memcached::Memcached;
    use crate::proxy::{Fault, Form, Pace, Proxy, Then};
    use crate::server::{Protocol, Server};

    /// Whether the server is killed now and then.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Lives {
        One,
        Many,
    }

    #[test]
    fn no_call_gets_what_is_older_whatever_happens_to_a_server() {
        // A connection that ends in its greeting would be taken for the classic protocol's.
        run(Protocol::Meta, Lives::Many);
    }

    #[test]
    fn no_call_gets_what_is_older_in_the_classic_protocol() {
        run(Protocol::Ascii, Lives::One);
    }

    fn run(protocol: Protocol, lives: Lives) {
        let (clock, seed) = (Clock::system(), seed(RandomState::new().hash_one(protocol as u8) >> 1));
        let slack = Slack { near: SECOND / 10, far: 2 * SECOND };
        let world = World::new(&clock, slack, seed);
        let mut server = Memcached::start();
        let proxy = Proxy::before(server.port);
        let faults = Dice::new(seed + 1);
        proxy.follow(move |_| {
            let (form, pace, then) = match faults.roll(400) {
                0 => (Form::Nothing, Pace::AtOnce, Then::Close),
                1 => (Form::Half, Pace::AtOnce, Then::Reset),
                2 => (Form::Whole, Pace::Late(Duration::from_millis(500)), Then::GoOn),
                3..6 => (Form::Whole, Pace::Late(SECOND / 8), Then::GoOn),
                _ => return None,
            };
            Some(Fault { form, pace, then })
        });
        let process = |number| {
            let servers = Server::list(&proxy.address()).expect("an address");
            let (timeout, retry_after, jitter) = (Duration::from_millis(200), Some(SECOND / 10), Jitter(0));
            let settings = Settings { servers, protocol, timeout, retry_after, jitter, ..Settings::default() };
            let cache = Cache::at(settings, &clock).expect("settings that can be used");
            Arc::new(Process { number, cache, world: Arc::clone(&world) })
        };
        let processes: Vec<_> = (0..PROCESSES).map(process).collect();
        let begun = Instant::now();
        let time = std::env::var("HISTORY_SECONDS").map_or(8, |seconds| seconds.parse().expect("seconds"));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let is_over = AtomicBool::new(false);
        let operations = std::thread::scope(|scope| {
            scope.spawn(|| {
                while lives == Lives::Many && !is_over.load(Ordering::SeqCst) {
                    std::thread::sleep(SECOND);
                    server.kill();
                    server = Memcached::restart(server.port);
                }
            });
            let operations = runtime.block_on(async {
                let (mut tasks, mut operations) = (tokio::task::JoinSet::new(), 0_u64);
                while begun.elapsed() < time * SECOND {
                    while tasks.len() >= TASKS {
                        tasks.join_next().await.expect("a task").expect("it does not panic");
                    }
                    operations += 1;
                    let process = &processes[world.dice.roll(processes.len() as u64) as usize];
                    tasks.spawn(Arc::clone(process).acts(world.dice.roll(ROWS as u64) as usize));
                }
                while let Some(done) = tasks.join_next().await {
                    done.expect("it does not panic");
                }
                operations
            });
            is_over.store(true, Ordering::SeqCst);
            operations
        });
        world.conclude(operations, seed, begun);
    }
}
