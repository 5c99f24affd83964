//! Entries whose nodes have not answered when their writer ended, or whose writer could
//! not wait: they are removed later.
//!
//! One thread for the process tries again until the nodes answer; it sleeps while there
//! is nothing to do. What is left when the process ends is lost, and so is what nodes do
//! not answer for a long time.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::marking::Goal;
use super::{Affected, Marked, Marks};
use crate::exchange::Verb;
use crate::sync::{Condvar, Mutex, lock};
use crate::telemetry::exchange::quietly;
use crate::telemetry::invalidations::Invalidation;
use crate::time::servant::{Servant, Service, survive};

/// How long the thread waits between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// How long it tries.
const LONGEST: Duration = Duration::from_secs(3_600);

/// How many entries it tries to remove at once.
const MOST: usize = 10_000;

struct Late {
    item: Affected,
    since: Instant,
    /// What has become of it if the next try succeeds.
    becomes: Invalidation,
}

static BACKLOG: Mutex<Backlog> = Mutex::new(Backlog::none());
static ADDED: Condvar = Condvar::new();
static THREAD: Servant = Servant::new();

/// The work of the thread.
struct Backlog {
    late: VecDeque<Late>,
    /// What writers have left that could not wait, and what they wanted of it.
    unended: Vec<(Arc<Marked>, Goal)>,
    /// What the thread is busy with.
    busy: usize,
}

/// Leaves an entry to the thread. Where no thread can be started, it is lost.
pub(super) fn leave(item: Affected) {
    let mut left = lock(&BACKLOG);
    let lost = if ensure(&mut left) {
        left.late.push_back(Late { item, since: Instant::now(), becomes: Invalidation::Late });
        ADDED.notify_one();
        left.limit()
    } else {
        1
    };
    // Not under the lock: who is told of it is other people's code.
    drop(left);
    (0..lost).for_each(|_| Invalidation::Lost.happened());
}

/// Leaves to the thread all that a writer has marked. A renewal may be under way.
#[cfg(feature = "tokio")]
pub(super) fn leave_all(marked: Arc<Marked>, goal: Goal) {
    let mut left = lock(&BACKLOG);
    if ensure(&mut left) {
        left.unended.push((marked, goal));
        ADDED.notify_one();
    }
}

/// Counts what is left.
pub(crate) fn left() -> usize {
    let left = lock(&BACKLOG);
    left.late.len() + left.unended.len() + left.busy
}

/// Starts the thread unless it runs. Returns whether it does.
fn ensure(left: &mut Backlog) -> bool {
    match THREAD.ensure("memocached-late", run) {
        Service::Ongoing => {}
        // What is listed after a fork is the parent's.
        Service::Begun => *left = Backlog::none(),
        Service::Denied => return false,
    }
    true
}

impl Backlog {
    const fn none() -> Self {
        Backlog { late: VecDeque::new(), unended: Vec::new(), busy: 0 }
    }

    /// Drops the oldest that are too many. Returns how many those are.
    fn limit(&mut self) -> usize {
        let lost = self.late.len().saturating_sub(MOST);
        self.late.drain(..lost);
        lost
    }
}

fn run() {
    loop {
        let mut left = lock(&BACKLOG);
        while left.late.is_empty() && left.unended.is_empty() {
            left = ADDED.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        let Backlog { late: all, unended, .. } = std::mem::replace(&mut *left, Backlog::none());
        left.busy = all.len() + unended.len();
        drop(left);
        let ended = unended.into_iter().flat_map(|(marked, goal)| end(&marked, goal));
        let all: Vec<Late> = all.into_iter().chain(ended).collect();
        for (marks, told) in by_cache(all) {
            let (again, ended) = remove(marks, told);
            let lost = {
                let mut left = lock(&BACKLOG);
                // They are older than what came meanwhile.
                again.into_iter().rev().for_each(|late| left.late.push_front(late));
                left.limit()
            };
            let ended = ended.into_iter().chain(std::iter::repeat_n(Invalidation::Lost, lost));
            ended.for_each(|becomes| _ = survive(|| becomes.happened()));
        }
        let is_left = {
            let mut left = lock(&BACKLOG);
            left.busy = 0;
            !left.late.is_empty()
        };
        if is_left {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Returns what a writer has left, to be ended as it wanted.
fn end(marked: &Marked, goal: Goal) -> Vec<Late> {
    let mut marks = marked.relay.take();
    marks.turn_to(|| goal.clone());
    survive(|| marks.forget());
    let (since, becomes) = (Instant::now(), Invalidation::Done);
    std::mem::take(&mut marks.items).into_iter().map(|item| Late { item, since, becomes }).collect()
}

/// Tries to remove these. Returns those whose nodes have not answered, and what has become
/// of the others.
fn remove(mut marks: Marks, told: Told) -> (Vec<Late>, Vec<Invalidation>) {
    let (mut left, mut ended) = (Vec::new(), Vec::new());
    marks.items.iter_mut().for_each(|item| item.error = None);
    if survive(|| quietly(|| marks.carry(Verb::Delete))).is_none() {
        marks.give_up();
    }
    survive(|| marks.forget());
    let nodes: Vec<_> = marks.cache.store().numbered();
    for (item, (since, becomes)) in marks.items.into_iter().zip(told) {
        // A node that has left the cluster serves no caller.
        let is_gone = item.destination.node.as_ref().is_some_and(|node| !nodes.contains(node));
        match item.error {
            None => ended.push(becomes),
            Some(_) if is_gone => ended.push(Invalidation::Late),
            Some(_) if since.elapsed() < LONGEST => {
                left.push(Late { item, since, becomes: Invalidation::Late });
            }
            Some(_) => ended.push(Invalidation::Lost),
        }
    }
    (left, ended)
}

/// Since when each of some entries has been late, and what becomes of it.
type Told = Vec<(Instant, Invalidation)>;

fn by_cache(all: Vec<Late>) -> Vec<(Marks, Told)> {
    let mut by_cache: Vec<(Marks, Told)> = Vec::new();
    for Late { item, since, becomes } in all {
        let index =
            by_cache.iter().position(|(marks, _)| marks.is_of(&item.destination.cache)).unwrap_or(by_cache.len());
        if index == by_cache.len() {
            by_cache.push((Marks { cache: item.destination.cache.clone(), items: Vec::new() }, Vec::new()));
        }
        let (marks, told) = &mut by_cache[index];
        marks.items.push(item);
        told.push((since, becomes));
    }
    by_cache
}

#[cfg(test)]
mod tests {
    use super::super::marking::Marking;
    use super::super::{Cache, Destination};
    use super::*;

    #[test]
    fn the_oldest_that_are_too_many_are_lost() {
        let cache = Cache::embedded();
        let late = |n: usize| {
            let destination = Destination { cache: cache.clone(), key: n.to_string(), node: None };
            let item = Affected { destination, marking: Marking::unmarked(), error: None };
            Late { item, since: Instant::now(), becomes: Invalidation::Late }
        };
        let mut backlog = Backlog::none();
        backlog.late.extend((0..MOST).map(late));
        assert_eq!(backlog.limit(), 0);
        backlog.late.extend((MOST..MOST + 3).map(late));
        assert_eq!((backlog.limit(), backlog.late.len()), (3, MOST));
        assert_eq!(backlog.late[0].item.destination.key, "3");
    }
}
