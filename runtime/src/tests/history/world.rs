//! The database behind the calls, and what is known of its history.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::functions::{Kind, Old};
use crate::sync::lock;
use crate::tests::network::Dice;
use crate::time::clock::Clock;

pub(super) const SECOND: Duration = Duration::from_secs(1);
/// Longer than a mark stands: what is stored over one outlives it.
const TTL: Duration = Duration::from_secs(16);
const GRACE: Duration = Duration::from_secs(4);
const NEAR: Duration = Duration::from_secs(2);
/// How long a mark stands that is not renewed, and the server's last second.
const MARK: Duration = Duration::from_secs(11);

/// How long a push may be on its way.
const PUSH: Duration = Duration::from_secs(3);

/// Rows of no team, and behind them those of teams in turn.
pub(super) const LONERS: usize = 8;
pub(super) const ROWS: usize = 12;
pub(super) const TEAMS: usize = 2;

/// The version that was read, and the number of the reading.
pub(super) type Reading = (u64, u64);

/// What a row holds. Each seventh version holds nothing.
pub(super) type Row = Option<Reading>;

/// Whether there is a function with `idle` for a row.
pub(super) fn is_pushed(row: usize) -> bool {
    row % 2 == 1
}

/// Whether a row is hardly ever changed but by writers that are killed: what one leaves
/// behind stays there.
pub(super) fn is_quiet(row: usize) -> bool {
    row.is_multiple_of(8)
}

fn holds(reading: Reading) -> Row {
    (reading.0 % 7 != 6).then_some(reading)
}

/// How much longer than they should clocks may let something live.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slack {
    /// The process's.
    pub(super) near: Duration,
    /// The server's.
    pub(super) far: Duration,
}

/// How a change reaches the values that were stored before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// A value takes their place, whatever is there.
    Put,
    /// Whatever is there goes, or is replaced.
    Unmarked,
    /// Marks stand there meanwhile.
    Marked,
}

/// Who may overlook a change that was acknowledged, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlooked {
    /// Near copies of other processes.
    Near,
    /// Those, and functions with grace, for as long as a value is served that was
    /// invalidated.
    Stale,
    /// The same, from when it is found that the value's group was invalidated.
    StaleGroup,
    /// All, until the marks have ended that a killed writer has left.
    Marked,
}

/// A change that was acknowledged.
#[derive(Clone, Copy, Debug)]
struct Change {
    version: u64,
    at: Instant,
    process: usize,
    name: &'static str,
    overlooked: Overlooked,
}

impl Change {
    /// Whether a call counts it that begins now.
    fn counts(&self, kind: Kind, process: usize, now: Instant, slack: Slack) -> bool {
        // What is served near was served a moment ago.
        let near = if kind.has_near { NEAR + slack.near } else { Duration::ZERO };
        let stale = |time: Duration| kind.has_grace && now < self.at + time + near + slack.far;
        let is_near = kind.has_near && self.process != process && now < self.at + NEAR + slack.near;
        !match self.overlooked {
            Overlooked::Near => is_near,
            Overlooked::Stale => is_near || stale(GRACE),
            Overlooked::StaleGroup => is_near || stale(TTL + GRACE),
            Overlooked::Marked => now < self.at + MARK + slack.far,
        }
    }
}

#[derive(Debug, Default)]
struct History {
    version: u64,
    /// Changes that some call may not count yet.
    recent: Vec<Change>,
    /// The newest that all count.
    floor: u64,
    /// Changes that were committed and are under way.
    changing: usize,
    /// Whether a put is under way.
    is_put: bool,
    /// What may remove a mark.
    unmarking: Unmarking,
}

/// The changes of a row that take no notice of marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Unmarking {
    begun: u64,
    under_way: usize,
    /// When a request was given up last that may still arrive.
    stray: Option<Instant>,
}

/// A change under way.
#[derive(Debug)]
pub(super) struct Act {
    process: usize,
    name: &'static str,
    means: Means,
    /// What it changes, and what may have removed its marks by then.
    rows: Vec<(usize, Unmarking)>,
    begun: Instant,
    committed: Mutex<Vec<(usize, Reading)>>,
}

impl Act {
    /// One of the rows that it changes.
    pub(super) fn first(&self) -> usize {
        self.rows[0].0
    }

    /// What was committed of a row.
    pub(super) fn of(&self, row: usize) -> Option<Reading> {
        lock(&self.committed).iter().find(|(changed, _)| *changed == row).map(|(_, reading)| *reading)
    }
}

/// The database, and what is known of its history.
pub(super) struct World {
    pub(super) clock: Clock,
    slack: Slack,
    pub(super) dice: Dice,
    rows: Vec<Mutex<History>>,
    /// When each reading was returned first, or found to be still right, in milliseconds
    /// from the start.
    returned: Mutex<Vec<u64>>,
    start: Instant,
    /// The readings of puts that failed, which may still arrive.
    doubtful: Mutex<HashSet<u64>>,
    violations: Mutex<Vec<String>>,
    hits: AtomicU64,
}

impl World {
    pub(super) fn new(clock: &Clock, slack: Slack, seed: u64) -> Arc<Self> {
        Arc::new(World {
            clock: clock.clone(),
            slack,
            dice: Dice::new(seed),
            rows: (0..ROWS).map(|_| Mutex::default()).collect(),
            returned: Mutex::default(),
            start: clock.now(),
            doubtful: Mutex::default(),
            violations: Mutex::default(),
            hits: AtomicU64::new(0),
        })
    }

    /// Returns the time in milliseconds, and the number of the next reading.
    pub(super) fn now(&self) -> (u64, u64) {
        let millis = (self.clock.now() - self.start).as_millis();
        (u64::try_from(millis).expect("a test's duration"), lock(&self.returned).len() as u64)
    }

    fn draws(&self, version: u64) -> Reading {
        let mut returned = lock(&self.returned);
        returned.push(u64::MAX);
        (version, returned.len() as u64 - 1)
    }

    /// The body of a call, which may be given the value that it replaces.
    pub(super) async fn read(&self, row: usize, old: Old) -> Row {
        self.dice.pause(4).await;
        let version = lock(&self.rows[row]).version;
        let read = match old {
            Some(old) if old.value().0 == version => {
                let number = old.value().1;
                // It is stored anew within that time.
                lock(&self.returned)[number as usize] = self.now_later();
                old.unchanged()
            }
            _ => self.draws(version),
        };
        self.dice.pause(4).await;
        if self.dice.roll(if self.slack.far > Duration::ZERO { 20 } else { 400 }) == 0 {
            // Long enough for a lease to be renewed.
            tokio::time::sleep(SECOND / 5).await;
        }
        holds(read)
    }

    /// The body of a call for many rows.
    pub(super) async fn read_all(&self, rows: Vec<usize>) -> HashMap<usize, Reading> {
        let mut read = HashMap::new();
        for row in rows {
            if let Some(found) = self.read(row, None).await {
                read.insert(row, found);
            }
        }
        read
    }

    /// The body of a writer.
    pub(super) async fn write(&self, row: usize, act: &Act) -> Row {
        self.dice.pause(4).await;
        self.commit(act);
        self.dice.pause(4).await;
        act.of(row).and_then(holds)
    }

    /// Begins a change of these rows.
    pub(super) fn begin(&self, name: &'static str, rows: &[usize], process: usize, means: Means) -> Act {
        let begins = |row: &usize| {
            let unmarking = &mut lock(&self.rows[*row]).unmarking;
            let before = *unmarking;
            if means != Means::Marked {
                unmarking.begun += 1;
                unmarking.under_way += 1;
            }
            (*row, before)
        };
        let rows = rows.iter().map(begins).collect();
        Act { process, name, means, rows, begun: self.clock.now(), committed: Mutex::default() }
    }

    /// Changes the rows of an act, unless a put is in the way.
    pub(super) fn commit(&self, act: &Act) {
        let mut rows: Vec<_> = act.rows.iter().map(|(row, _)| (*row, lock(&self.rows[*row]))).collect();
        let is_put = act.means == Means::Put;
        if rows.iter().any(|(_, history)| history.is_put || is_put && history.changing > 0) {
            return;
        }
        for (row, history) in &mut rows {
            history.version += 1;
            // There is nothing to put of a row that holds nothing.
            if is_put && history.version % 7 == 6 {
                history.version += 1;
            }
            history.changing += 1;
            history.is_put = is_put;
            lock(&act.committed).push((*row, self.draws(history.version)));
        }
    }

    /// Whether the marks of an act that began them and is not ended stand now.
    pub(super) fn is_marked(&self, act: &Act) -> bool {
        let now = self.clock.now();
        let untouched = |(row, before): &(usize, Unmarking)| {
            let unmarking = lock(&self.rows[*row]).unmarking;
            unmarking == *before && before.under_way == 0 && before.stray != Some(act.begun)
        };
        now < act.begun + MARK - 2 * SECOND && act.rows.iter().all(untouched)
    }

    /// Ends a change. It was acknowledged, unless none may count it.
    pub(super) fn end(&self, act: &Act, acknowledged: Option<Overlooked>) {
        let now = self.clock.now();
        for (row, _) in &act.rows {
            let (mut history, committed) = (lock(&self.rows[*row]), act.of(*row));
            if act.means != Means::Marked {
                history.unmarking.under_way -= 1;
                if acknowledged.is_none() {
                    history.unmarking.stray = Some(now);
                }
            }
            let Some((version, reading)) = committed else { continue };
            history.changing -= 1;
            history.is_put = false;
            let stored = self.now().0;
            lock(&self.returned)[reading as usize] = stored;
            if act.means == Means::Put && acknowledged.is_none() {
                lock(&self.doubtful).insert(reading);
            }
            let name = |overlooked| if overlooked == Overlooked::Marked { "killed" } else { act.name };
            let change =
                |overlooked| Change { version, at: now, process: act.process, name: name(overlooked), overlooked };
            history.recent.extend(acknowledged.map(change));
            history.settle(now, self.slack);
        }
    }

    /// The oldest version that a call may return which begins now, and the change that
    /// made it.
    pub(super) fn oldest(&self, row: usize, kind: Kind, process: usize) -> (u64, &'static str) {
        let (history, now) = (lock(&self.rows[row]), self.clock.now());
        let counted = history.recent.iter().filter(|change| change.counts(kind, process, now, self.slack));
        counted.map(|change| (change.version, change.name)).fold((history.floor, "long ago"), Ord::max)
    }

    /// Judges what a call has returned that began then. Without `asked` it could not know
    /// of changes.
    pub(super) fn judge(&self, kind: Kind, process: usize, row: usize, call: Called, found: Reading, asked: bool) {
        let ((version, reading), now) = (found, self.now().0);
        if reading < call.next {
            self.hits.fetch_add(1, Ordering::Relaxed);
        }
        if lock(&self.doubtful).contains(&reading) {
            return;
        }
        let returned = {
            let mut returned = lock(&self.returned);
            let returned = &mut returned[reading as usize];
            if *returned == u64::MAX {
                *returned = now;
            }
            *returned
        };
        let time = |has_it, time| if has_it { time } else { Duration::ZERO };
        let (grace, near, push) = (time(kind.has_grace, GRACE), time(kind.has_near, NEAR), time(is_pushed(row), PUSH));
        let longest = TTL + grace + near + push + self.slack.near + self.slack.far;
        let age = call.begun.saturating_sub(returned);
        if age > longest.as_millis() as u64 {
            self.violated(format!("function {} of {process}: {age} ms old", kind.number));
        }
        let (oldest, change) = call.oldest;
        if version < oldest && asked {
            self.violated(format!("function {} of {process}: version {version} for {oldest} ({change})", kind.number));
        }
    }

    /// Fails the test if anything was wrong, or if hardly anything was tried.
    pub(super) fn conclude(&self, operations: u64, seed: u64, begun: Instant) {
        let hits = self.hits.load(Ordering::Relaxed);
        println!("{operations} operations with seed {seed} took {:?}; {hits} hits", begun.elapsed());
        let violations = lock(&self.violations);
        let first = &violations[..violations.len().min(5)];
        assert!(violations.is_empty(), "HISTORY_SEED={seed}: {}, {first:#?}", violations.len());
        assert!(hits > operations / 20, "{hits} hits in {operations} operations");
    }

    fn now_later(&self) -> u64 {
        (self.clock.now() - self.start + TTL).as_millis() as u64
    }

    fn violated(&self, what: String) {
        lock(&self.violations).push(what);
    }
}

/// A call that was made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Called {
    /// The oldest version that it may return, and the change that made it.
    pub(super) oldest: (u64, &'static str),
    /// When it began.
    pub(super) begun: u64,
    /// The number of the first reading after that.
    pub(super) next: u64,
}

impl History {
    /// Forgets changes that all calls count by now.
    fn settle(&mut self, now: Instant, slack: Slack) {
        let longest = MARK + TTL + GRACE + NEAR + slack.near + slack.far;
        let History { recent, floor, .. } = self;
        recent.retain(|change| {
            let counts = now >= change.at + longest;
            *floor = if counts { change.version.max(*floor) } else { *floor };
            !counts
        });
    }
}
