//! Readers and writers in processes of their own, on a real database. Writers are killed
//! at each of their steps.
//!
//! A row has a version. Each writer makes the next one, and notes in a file what was
//! acknowledged: when its function has returned. A reader that begins afterwards must not
//! get an older one. Nor may an old value be left once the marks of those that were killed
//! have ended.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fork::{Fork, fork, waitpid};
use memocached::{invalidates, memcached, updates};
use rusqlite::{Connection, OptionalExtension};

use crate::support::folder::Folder;
use crate::support::memcached::Memcached;
use crate::support::process::{again, gently, role};

/// Rows that are written and read at one time.
const HOT: u64 = 8;
/// How many rounds the same rows stay hot.
const ROUNDS: u64 = 64;
const WRITERS: u64 = 2;
const READERS: u64 = 2;
/// How long the lagging reads lag.
const LAG: Duration = Duration::from_secs(1);
/// How long the marks of a writer stand that was killed.
const STANDS: Duration = Duration::from_secs(11);

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn rounds() -> u64 {
    variable("WRITER_ROUNDS").parse().unwrap_or(10_000)
}

/// The database of this process.
struct Database {
    connection: Connection,
    lags: bool,
}

impl Database {
    fn open() -> Self {
        let connection = Connection::open(variable("WRITER_DATABASE")).unwrap();
        connection.busy_timeout(Duration::from_secs(60)).unwrap();
        connection.pragma_update(None, "journal_mode", "wal").unwrap();
        connection.pragma_update(None, "synchronous", "off").unwrap();
        Database { connection, lags: variable("WRITER_KIND").contains("lags") }
    }

    fn create(&self) {
        let table = "create table if not exists versions (row integer, version integer, at integer);
                     create index if not exists by_row on versions (row, version)";
        self.connection.execute_batch(table).unwrap();
    }

    /// The version of a row, as of a while ago where reads lag.
    fn read(&self, row: u64) -> u64 {
        let latest = if self.lags { millis().saturating_sub(LAG.as_millis() as u64) } else { u64::MAX / 2 };
        self.version(row, latest)
    }

    fn version(&self, row: u64, latest: u64) -> u64 {
        let query = "select version from versions where row = ? and at <= ? order by version desc limit 1";
        let mut query = self.connection.prepare_cached(query).unwrap();
        query.query_row((row, latest), |row| row.get(0)).optional().unwrap().unwrap_or(0)
    }

    /// Makes the next version, unless the writer dies before that.
    fn write(&mut self, row: u64, dies: Option<Death>) -> u64 {
        if dies == Some(Death::BeforeTheChange) {
            die();
        }
        let change = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        let query = "select coalesce(max(version), 0) + 1 from versions where row = ?";
        let next: u64 = change.query_row(query, [row], |row| row.get(0)).unwrap();
        change.execute("insert into versions values (?, ?, ?)", (row, next, millis())).unwrap();
        if dies == Some(Death::BeforeTheCommit) {
            die();
        }
        change.commit().unwrap();
        if dies == Some(Death::AfterTheCommit) {
            die();
        }
        next
    }
}

fn millis() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

thread_local! {
    static DATABASE: std::cell::RefCell<Option<Database>> = const { std::cell::RefCell::new(None) };
}

fn with_database<T>(work: impl FnOnce(&mut Database) -> T) -> T {
    DATABASE.with_borrow_mut(|database| work(database.get_or_insert_with(Database::open)))
}

#[memcached(key = "version:<row>", ttl = 600, entry = version_entry)]
fn version(row: u64) -> u64 {
    with_database(|database| database.read(row))
}

#[memcached(key = "version:<row>", ttl = 600, grace = 600)]
fn version_with_grace(row: u64) -> u64 {
    with_database(|database| database.read(row))
}

/// Where a writer is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    BeforeTheMark,
    BeforeTheChange,
    BeforeTheCommit,
    AfterTheCommit,
    AfterTheEnd,
}

const DEATHS: [Death; 5] =
    [Death::BeforeTheMark, Death::BeforeTheChange, Death::BeforeTheCommit, Death::AfterTheCommit, Death::AfterTheEnd];

/// Ends this process at once, without a destructor.
fn die() -> ! {
    std::process::exit(9)
}

#[invalidates(version_entry(row))]
fn invalidate(row: u64, dies: Option<Death>) -> u64 {
    with_database(|database| database.write(row, dies))
}

#[updates(version_entry(row))]
fn update(row: u64, dies: Option<Death>) -> u64 {
    with_database(|database| database.write(row, dies))
}

#[invalidates(version_entry(row), hold_off = 2)]
fn hold_off(row: u64, dies: Option<Death>) -> u64 {
    with_database(|database| database.write(row, dies))
}

#[invalidates(version_entry(row), mark = off)]
fn unmarked(row: u64, dies: Option<Death>) -> u64 {
    with_database(|database| database.write(row, dies))
}

/// What was acknowledged: for each row, the last version and the time of each writer.
struct Acknowledged(File);

impl Acknowledged {
    fn open(path: &Path) -> Self {
        Acknowledged(OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap())
    }

    fn place(row: u64, writer: u64) -> u64 {
        (row * WRITERS + writer) * 16
    }

    fn note(&self, row: u64, writer: u64, version: u64) {
        let bytes = [version.to_le_bytes(), millis().to_le_bytes()].concat();
        self.0.write_at(&bytes, Self::place(row, writer)).unwrap();
    }

    /// The newest version that was acknowledged at least so long ago.
    fn newest(&self, row: u64, ago: Duration) -> u64 {
        let mut newest = 0;
        for writer in 0..WRITERS {
            let mut bytes = [0; 16];
            if self.0.read_at(&mut bytes, Self::place(row, writer)).unwrap() == 16 {
                let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
                let is_old = number(8) + ago.as_millis() as u64 <= millis();
                newest = newest.max(if is_old { number(0) } else { 0 });
            }
        }
        newest
    }
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A row that is hot in this round.
fn hot(round: u64, dice: &mut Dice) -> u64 {
    round / ROUNDS * HOT + dice.roll(HOT)
}

fn writer(number: u64) {
    let acknowledged = Acknowledged::open(variable("WRITER_ACKNOWLEDGED").as_ref());
    let progress = Acknowledged::open(variable("WRITER_PROGRESS").as_ref());
    let mut dice = Dice(number + 1);
    let kind = variable("WRITER_KIND");
    for round in (number..rounds()).step_by(WRITERS as usize) {
        progress.note(0, 0, round);
        let row = hot(round, &mut dice);
        let dies = (dice.roll(2) == 0).then(|| DEATHS[dice.roll(5) as usize]);
        match fork().unwrap() {
            Fork::Child => {
                if dies == Some(Death::BeforeTheMark) {
                    die();
                }
                let version = match (kind.as_str(), dice.roll(2)) {
                    ("lags", _) => hold_off(row, dies),
                    ("unmarked", _) => unmarked(row, dies),
                    (_, 0) => update(row, dies),
                    _ => invalidate(row, dies),
                };
                if dies == Some(Death::AfterTheEnd) {
                    die();
                }
                acknowledged.note(row, number, version);
                std::process::exit(0);
            }
            Fork::Parent(child) => {
                let code = waitpid(child).unwrap() >> 8;
                assert!(code == if dies.is_some() { 9 } else { 0 } || code == 0, "{code} after {dies:?}");
            }
        }
    }
}

fn reader(number: u64) {
    let acknowledged = Acknowledged::open(variable("WRITER_ACKNOWLEDGED").as_ref());
    let progress = Acknowledged::open(variable("WRITER_PROGRESS").as_ref());
    let lags = variable("WRITER_KIND") == "lags";
    // Reads of the database are as old as that, whatever is cached.
    let ago = if lags { LAG + Duration::from_millis(300) } else { Duration::ZERO };
    let count = |thread: u64| {
        let mut dice = Dice(number * 100 + thread);
        let (mut reads, mut old) = (0_u64, 0_u64);
        loop {
            let round = progress.newest(0, Duration::ZERO);
            if round == u64::MAX {
                return (reads, old);
            }
            let row = hot(round, &mut dice);
            let newest = acknowledged.newest(row, ago);
            let read = if dice.roll(2) == 0 { version(row) } else { version_with_grace(row) };
            reads += 1;
            std::thread::sleep(Duration::from_micros(300));
            if read < newest {
                old += 1;
                println!("row {row}: {read} after {newest} was acknowledged");
            }
        }
    };
    let counts: Vec<(u64, u64)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|thread| scope.spawn(move || count(thread))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let sum = |of: fn(&(u64, u64)) -> u64| counts.iter().map(of).sum::<u64>();
    println!("reads {} old {}", sum(|count| count.0), sum(|count| count.1));
}

/// What readers have found, and how many rows have an old value in the end.
#[derive(Debug)]
struct Found {
    reads: u64,
    old: u64,
    left: usize,
}

fn run(test: &str, kind: &str, rounds: u64) -> Found {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = Memcached::start();
    let folder = Folder::new();
    let path = |name: &str| folder.path(name);
    let began = Instant::now();
    let start = |role: &str| -> Child {
        let mut process = gently(&again(test, role));
        let paths = [("DATABASE", "data"), ("ACKNOWLEDGED", "acknowledged"), ("PROGRESS", "progress")];
        process.envs(paths.map(|(name, file)| (format!("WRITER_{name}"), path(file))));
        process.env("WRITER_KIND", kind).env("WRITER_ROUNDS", rounds.to_string());
        process.env("MEMCACHED_SERVERS", server.address()).env("MEMCACHED_TIMEOUT", "20s");
        process.env("MEMCACHED_CONNECT_TIMEOUT", "20s").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let output = |child: Child| {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    output(start("create"));
    let readers: Vec<Child> = (0..READERS).map(|number| start(&format!("reader {number}"))).collect();
    let writers: Vec<Child> = (0..WRITERS).map(|number| start(&format!("writer {number}"))).collect();
    writers.into_iter().for_each(|writer| drop(output(writer)));
    Acknowledged::open(path("progress").as_ref()).note(0, 0, u64::MAX);
    let mut found = Found { reads: 0, old: 0, left: 0 };
    for text in readers.into_iter().map(output) {
        let line = text.lines().find(|line| line.contains("reads ")).unwrap();
        let numbers: Vec<u64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        (found.reads, found.old) = (found.reads + numbers[0], found.old + numbers[1]);
        text.lines().filter(|line| line.starts_with("row ")).take(3).for_each(|line| println!("{line}"));
    }
    std::thread::sleep(STANDS);
    let left = output(start("left"));
    found.left = left.lines().filter(|line| line.starts_with("left ")).count();
    println!("{rounds} rounds ({kind}) in {:?}: {found:?}", began.elapsed());
    found
}

/// Compares what is cached of each row with the database.
fn left() {
    let rows = rounds() / ROUNDS * HOT + HOT;
    let mut kept = 0;
    for row in 0..rows {
        let now = with_database(|database| database.version(row, u64::MAX / 2));
        if let Some(cached) = version_entry(row).get().unwrap() {
            kept += 1;
            if cached != now {
                println!("left {row}: {cached} of {now}");
            }
        }
    }
    println!("{kept} of {rows} rows are cached");
}

fn play(role: &str) {
    match role.split_once(' ') {
        None if role == "create" => with_database(|database| database.create()),
        None => left(),
        Some(("writer", number)) => writer(number.parse().unwrap()),
        Some((_, number)) => reader(number.parse().unwrap()),
    }
}

#[test]
fn no_reader_gets_what_is_older_than_an_acknowledged_write() {
    match role() {
        Some(role) => play(&role),
        None => {
            let test = "behaviour::writer_processes::no_reader_gets_what_is_older_than_an_acknowledged_write";
            let found = run(test, "marked", rounds() * 4 / 5);
            assert_eq!((found.old, found.left), (0, 0), "{found:?}");
            assert!(found.reads > rounds(), "{found:?}");
        }
    }
}

#[test]
fn reads_that_lag_behind_leave_nothing_old() {
    match role() {
        Some(role) => play(&role),
        None => {
            let test = "behaviour::writer_processes::reads_that_lag_behind_leave_nothing_old";
            let found = run(test, "lags", rounds() / 5);
            assert_eq!((found.old, found.left), (0, 0), "{found:?}");
        }
    }
}

/// So that the tests above can fail.
#[test]
fn without_marks_old_values_are_left() {
    match role() {
        Some(role) => play(&role),
        None => {
            let test = "behaviour::writer_processes::without_marks_old_values_are_left";
            let found = run(test, "unmarked", 500);
            assert!(found.left > 0, "{found:?}");
        }
    }
}
