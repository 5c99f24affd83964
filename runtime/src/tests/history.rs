//! Random histories of calls and changes, checked against what they promise: a call
//! that begins after an acknowledged change never gets what is older.
//!
//! A *database* has rows whose versions are counted. The body of a call reads the
//! version of its row. A *change* commits the next version and then deletes, puts,
//! invalidates or refreshes the entry, or deletes it by a client. It is acknowledged
//! when that has returned without an error; a refresh, which returns none, when it has
//! returned a value and nothing was lost on the way meanwhile. (Without a value, an async
//! one removes what was there after it has returned. On a real server, what is lost is
//! not known, and no refresh counts.)
//!
//! A call may return a version only if it is as new as that of each change
//! acknowledged before the call began, with two exceptions:
//!
//! - A function with `near` may overlook, for that time, a change by another process.
//! - A function with `grace` may overlook, for that time, an invalidation by a
//!   function with `grace`. A change of any other kind counts at once.
//!
//! Nor may it return what was stored longer ago than the ttl and its own `grace` and
//! `near`, whatever those of the function that stored it.
//!
//! Several processes are several caches on one store. Time is set by hand, requests and
//! replies are late and lost, calls are dropped, leases end early. The rest is the order
//! in which tasks run, which the seed decides, and how long waiting takes, which it
//! does not. A put is not raced by another change: of two, the last one to arrive stays.
//! One that failed may still arrive.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use memocached::memcached;

use crate::cache::Cache;
use crate::call::mode::{Mode, with_mode_async};
use crate::client::AsyncClient;
use crate::config::Settings;
use crate::config::jitter::Jitter;
#[cfg(feature = "servers")]
use crate::node::breaker::Turn;
use crate::store::Store;
use crate::sync::lock;
use crate::tests::network::Dice;
use crate::time::clock::Clock;

const SECOND: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_secs(2);
const GRACE: Duration = Duration::from_secs(3);
const NEAR: Duration = Duration::from_secs(1);

/// What a row holds: the version that was read, and the number of the reading. Each
/// seventh version holds nothing.
type Row = Option<(u64, u64)>;

macro_rules! functions {
    ($($function:ident $batch:ident $entry:ident ($($choice:tt)*),)*) => {$(
        /// All of them share their keys, as the releases of a program do.
        #[memcached(
            key = "history:<row>", ttl = 2, $($choice)* entry = $entry, cache = &cache, skip(cache, world)
        )]
        async fn $function(cache: Cache, world: Arc<World>, row: usize) -> Row {
            world.read(row).await
        }

        #[memcached(
            key = "history:<row>", each(row in rows), ttl = 2, $($choice)* cache = &cache, skip(cache, world)
        )]
        async fn $batch(cache: Cache, world: Arc<World>, rows: Vec<usize>) -> HashMap<usize, (u64, u64)> {
            let mut read = HashMap::new();
            for row in rows {
                if let Some(found) = world.read(row).await {
                    read.insert(row, found);
                }
            }
            read
        }
    )*};
}

functions! {
    plain all_plain plain_entry (),
    near all_near near_entry (near = 1,),
    graced all_graced graced_entry (grace = 3,),
    ahead all_ahead ahead_entry (grace = 3, near = 1, refresh_ahead = 1,),
}

/// Calls one of the functions, by number.
async fn call(function: usize, cache: &Cache, world: &Arc<World>, row: usize) -> Row {
    let (cache, world) = (cache.clone(), Arc::clone(world));
    match function {
        0 => plain(cache, world, row).await,
        1 => near(cache, world, row).await,
        2 => graced(cache, world, row).await,
        _ => ahead(cache, world, row).await,
    }
}

/// Calls one of the functions that compute several values at once.
async fn call_all(function: usize, cache: &Cache, world: &Arc<World>, rows: Vec<usize>) -> HashMap<usize, (u64, u64)> {
    let (cache, world) = (cache.clone(), Arc::clone(world));
    match function {
        0 => all_plain(cache, world, rows).await,
        1 => all_near(cache, world, rows).await,
        2 => all_graced(cache, world, rows).await,
        _ => all_ahead(cache, world, rows).await,
    }
}

/// The entry of a call.
macro_rules! entry {
    ($function:expr, $cache:expr, $world:expr, $row:expr, |$entry:ident| $verb:expr) => {{
        let (cache, row) = ($cache.clone(), $row);
        match $function {
            0 => {
                let $entry = plain_entry(cache, row);
                $verb
            }
            1 => {
                let $entry = near_entry(cache, row);
                $verb
            }
            2 => {
                let $entry = graced_entry(cache, row);
                $verb
            }
            _ => {
                let $entry = ahead_entry(cache, row);
                $verb
            }
        }
    }};
}

/// Processes of two releases run side by side: the later one's functions have grace.
const RELEASES: usize = 2;
const PROCESSES: usize = 4;

fn has_near(function: usize) -> bool {
    matches!(function, 1 | 3)
}

fn has_grace(function: usize) -> bool {
    matches!(function, 2 | 3)
}

/// How much longer than they should clocks may let something live.
#[derive(Clone, Copy, Debug, Default)]
struct Slack {
    /// The process's.
    near: Duration,
    /// The server's.
    far: Duration,
}

/// A change that was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Change {
    version: u64,
    at: Instant,
    process: usize,
    /// Whether a function with grace may overlook it for a while.
    is_soft: bool,
}

impl Change {
    /// Whether a call counts it that begins now.
    fn counts(&self, function: usize, process: usize, now: Instant, slack: Slack) -> bool {
        let may_be_unknown = has_near(function) && self.process != process && now < self.at + NEAR + slack.near;
        let may_be_served = has_grace(function) && self.is_soft && now < self.at + GRACE + slack.far;
        !may_be_unknown && !may_be_served
    }
}

#[derive(Default)]
struct History {
    version: u64,
    /// Changes that some call may not count yet.
    recent: Vec<Change>,
    /// The newest that all count.
    floor: u64,
    /// Changes under way.
    changing: usize,
    /// Whether a put is under way.
    is_put: bool,
}

/// The database, and what is known of its history.
struct World {
    clock: Clock,
    slack: Slack,
    dice: Dice,
    rows: Vec<Mutex<History>>,
    /// When each reading was returned, in milliseconds from the start.
    returned: Mutex<Vec<u64>>,
    start: Instant,
    /// The readings of puts that failed, which may still arrive.
    doubtful: Mutex<HashSet<u64>>,
    violations: Mutex<Vec<String>>,
    hits: AtomicU64,
}

impl World {
    fn new(clock: &Clock, slack: Slack, seed: u64, rows: usize) -> Arc<Self> {
        Arc::new(World {
            clock: clock.clone(),
            slack,
            dice: Dice::new(seed),
            rows: (0..rows).map(|_| Mutex::default()).collect(),
            returned: Mutex::default(),
            start: clock.now(),
            doubtful: Mutex::default(),
            violations: Mutex::default(),
            hits: AtomicU64::new(0),
        })
    }

    fn millis(&self) -> u64 {
        u64::try_from((self.clock.now() - self.start).as_millis()).expect("a test's duration")
    }

    /// The body of a call.
    async fn read(&self, row: usize) -> Row {
        self.dice.pause(6).await;
        let version = lock(&self.rows[row]).version;
        let reading = {
            let mut returned = lock(&self.returned);
            returned.push(u64::MAX);
            returned.len() as u64 - 1
        };
        self.dice.pause(6).await;
        if self.slack.far > Duration::ZERO && self.dice.roll(20) == 0 {
            // Long enough for a lease to be renewed.
            tokio::time::sleep(SECOND / 5).await;
        }
        (version % 7 != 6).then_some((version, reading))
    }

    /// Begins a change; `None` if a put is in the way.
    fn commit(&self, row: usize, is_put: bool) -> Option<Row> {
        let mut history = lock(&self.rows[row]);
        if history.is_put || is_put && history.changing > 0 {
            return None;
        }
        history.version += 1;
        // There is nothing to put of a row that holds nothing.
        if is_put && history.version % 7 == 6 {
            history.version += 1;
        }
        history.changing += 1;
        history.is_put = is_put;
        let mut returned = lock(&self.returned);
        returned.push(u64::MAX);
        Some(Some((history.version, returned.len() as u64 - 1)))
    }

    /// Ends a change, which may have been acknowledged.
    fn changed(&self, row: usize, acknowledged: Option<Change>) {
        let mut history = lock(&self.rows[row]);
        history.changing -= 1;
        history.is_put = false;
        history.recent.extend(acknowledged);
        let now = self.clock.now();
        let mut floor = history.floor;
        history.recent.retain(|change| {
            let counts = now >= change.at + NEAR + GRACE + self.slack.near + self.slack.far;
            floor = if counts { floor.max(change.version) } else { floor };
            !counts
        });
        history.floor = floor;
    }

    /// The oldest version that a call may return which begins now.
    fn oldest(&self, row: usize, function: usize, process: usize) -> u64 {
        let (history, now) = (lock(&self.rows[row]), self.clock.now());
        let counted = history.recent.iter().filter(|change| change.counts(function, process, now, self.slack));
        counted.map(|change| change.version).fold(history.floor, u64::max)
    }

    /// Fails the test if anything was wrong, or if hardly anything was tried.
    fn judge(&self, operations: u64, seed: u64, begun: Instant) {
        let hits = self.hits.load(Ordering::Relaxed);
        println!("{operations} operations with seed {seed} took {:?}; {hits} hits", begun.elapsed());
        let violations = lock(&self.violations);
        let first = &violations[..violations.len().min(5)];
        assert!(violations.is_empty(), "seed {seed}: {}, {first:#?}", violations.len());
        assert!(hits > operations / 20, "{hits} hits in {operations} operations");
    }

    fn violated(&self, what: String) {
        lock(&self.violations).push(what);
    }
}

/// One process.
struct Process {
    number: usize,
    cache: Cache,
    world: Arc<World>,
}

impl Process {
    /// Counts the requests and replies that were lost, where they are counted.
    fn losses(&self) -> Option<u64> {
        match &**self.cache.store() {
            Store::Embedded(store, _) => Some(store.network.losses()),
            #[cfg(feature = "servers")]
            Store::Cluster(_) => None,
        }
    }

    /// The times that this process has begun to ask the server; `None` while it does not and
    /// cannot know of changes.
    fn asks(&self) -> Option<u64> {
        match &**self.cache.store() {
            Store::Embedded(..) => Some(0),
            #[cfg(feature = "servers")]
            Store::Cluster(cluster) => match cluster.members().get(0)?.node.breaker.turn() {
                Turn::Up(outages) => Some(outages),
                Turn::Out(_) => None,
            },
        }
    }

    async fn acts(self: Arc<Self>, row: usize) {
        let dice = &self.world.dice;
        let function = self.number % RELEASES * 2 + dice.roll(2) as usize;
        match dice.roll(100) {
            0..60 => self.calls(function, vec![row]).await,
            60..70 => {
                let more = (0..dice.roll(4)).map(|_| dice.roll(self.world.rows.len() as u64) as usize);
                self.calls(function, std::iter::once(row).chain(more).collect()).await;
            }
            70..74 => self.drops_a_call(row, function).await,
            kind => self.changes(row, function, kind - 74).await,
        }
    }

    async fn calls(&self, function: usize, rows: Vec<usize>) {
        let world = &self.world;
        let asked = self.asks();
        let oldest: HashMap<usize, u64> =
            rows.iter().map(|row| (*row, world.oldest(*row, function, self.number))).collect();
        let (begun, next) = (world.millis(), lock(&world.returned).len() as u64);
        let found = match rows[..] {
            [row] => call(function, &self.cache, world, row).await.into_iter().map(|found| (row, found)).collect(),
            _ => call_all(function, &self.cache, world, rows).await,
        };
        for (row, found) in found {
            if found.1 < next {
                world.hits.fetch_add(1, Ordering::Relaxed);
            }
            self.judge(function, oldest[&row], begun, found, asked.is_some() && self.asks() == asked);
        }
    }

    /// Judges what a call has returned that began then.
    fn judge(&self, function: usize, oldest: u64, begun: u64, (version, reading): (u64, u64), asked: bool) {
        let world = &self.world;
        let mut returned = lock(&world.returned);
        let returned = &mut returned[reading as usize];
        *returned = (*returned).min(world.millis());
        let grace = if has_grace(function) { GRACE } else { Duration::ZERO };
        let near = if has_near(function) { NEAR } else { Duration::ZERO };
        let longest = TTL + grace + near + world.slack.near + world.slack.far;
        if begun.saturating_sub(*returned) > longest.as_millis() as u64 {
            world.violated(format!("function {function} of {}: {} ms old", self.number, begun - *returned));
        }
        if version < oldest && asked && !lock(&world.doubtful).contains(&reading) {
            world.violated(format!("function {function} of {}: version {version} for {oldest}", self.number));
        }
    }

    /// Begins a call whose future is dropped before its end.
    async fn drops_a_call(&self, row: usize, function: usize) {
        let mut call = Box::pin(call(function, &self.cache, &self.world, row));
        for _ in 0..self.world.dice.roll(8) {
            let polled = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context))).await;
            if polled.is_ready() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn changes(&self, row: usize, function: usize, kind: u64) {
        let (world, cache) = (&self.world, &self.cache);
        let is_put = (5..10).contains(&kind);
        let Some(committed) = world.commit(row, is_put) else { return };
        let (version, reading) = committed.expect("a version");
        world.dice.pause(3).await;
        let mut is_soft = false;
        let is_acknowledged = match kind {
            0..5 => entry!(function, cache, world, row, |entry| entry.delete().await.is_ok()),
            5..10 => {
                let put = entry!(function, cache, world, row, |entry| entry.put(&(version, reading)).await.is_ok());
                lock(&world.returned)[reading as usize] = world.millis();
                if !put {
                    lock(&world.doubtful).insert(reading);
                }
                put
            }
            10..14 => {
                is_soft = has_grace(function);
                entry!(function, cache, world, row, |entry| entry.invalidate().await.is_ok())
            }
            14..18 => AsyncClient::of(cache).delete(format!("history:{row}")).await.is_ok(),
            _ => {
                let losses = self.losses();
                let refreshed = with_mode_async(Mode::Refresh, call(function, cache, world, row)).await;
                refreshed.is_some() && losses.is_some() && self.losses() == losses
            }
        };
        let change = Change { version, at: world.clock.now(), process: self.number, is_soft };
        world.changed(row, is_acknowledged.then_some(change));
    }
}

/// So many operations, or what the environment says.
fn operations(usual: u64) -> u64 {
    std::env::var("HISTORY_OPERATIONS").map_or(usual, |number| number.parse().expect("a number of operations"))
}

fn seed() -> u64 {
    std::env::var("HISTORY_SEED").map_or(1, |number| number.parse().expect("a seed"))
}

/// Tasks under way at once.
const TASKS: usize = 48;
const ROWS: usize = 8;

#[test]
fn no_call_gets_what_is_older_than_an_acknowledged_change() {
    let (clock, seed) = (Clock::manual(), seed());
    let settings = Settings { jitter: Jitter(0), ..Settings::default() };
    let world = World::new(&clock, Slack::default(), seed, ROWS);
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
                clock.advance(SECOND / 10 * world.dice.roll(8) as u32);
            }
        }
        while let Some(done) = tasks.join_next().await {
            done.expect("it does not panic");
        }
    });
    world.judge(operations, seed, begun);
}

/// The same on a real server, whose replies are late and lost, and which is killed and
/// started again.
#[cfg(feature = "servers")]
#[test]
fn no_call_gets_what_is_older_whatever_happens_to_a_server() {
    use std::sync::atomic::AtomicBool;

    use crate::memcached::Memcached;
    use crate::proxy::{Fault, Form, Pace, Proxy, Then};
    use crate::server::{Protocol, Server};

    let (clock, seed) = (Clock::system(), seed());
    let slack = Slack { near: SECOND / 10, far: 2 * SECOND };
    let world = World::new(&clock, slack, seed, ROWS);
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
        let timeout = Duration::from_millis(200);
        let retry_after = Some(SECOND / 10);
        // A connection that ends in its greeting would be taken for the classic protocol's.
        let protocol = Protocol::Meta;
        let settings = Settings { servers, protocol, timeout, retry_after, jitter: Jitter(0), ..Settings::default() };
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
            while !is_over.load(Ordering::SeqCst) {
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
    world.judge(operations, seed, begun);
}
