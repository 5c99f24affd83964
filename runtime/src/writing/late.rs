//! Entries whose nodes have not answered when their writer ended, or whose writer could
//! not wait: they are removed later.
//!
//! One thread for the process tries again until the nodes answer; it sleeps while there
//! is nothing to do. What is left when the process ends is lost, and so is what nodes do
//! not answer for a long time.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Affected, Marks};
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

static LATE: Mutex<VecDeque<Late>> = Mutex::new(VecDeque::new());
static ADDED: Condvar = Condvar::new();
static THREAD: Servant = Servant::new();

/// Leaves an entry to the thread. Where no thread can be started, it is lost.
pub(super) fn leave(item: Affected) {
    let becomes = if item.error.is_some() { Invalidation::Late } else { Invalidation::Done };
    let mut late = lock(&LATE);
    match THREAD.ensure("memocached-late", run) {
        Service::Ongoing => {}
        // What is listed after a fork is the parent's.
        Service::Begun => late.clear(),
        Service::Denied => return Invalidation::Lost.happened(),
    }
    late.push_back(Late { item, since: Instant::now(), becomes });
    if late.len() > MOST {
        late.pop_front();
        Invalidation::Lost.happened();
    }
    ADDED.notify_one();
}

fn run() {
    loop {
        let mut late = lock(&LATE);
        while late.is_empty() {
            late = ADDED.wait(late).unwrap_or_else(PoisonError::into_inner);
        }
        let all = std::mem::take(&mut *late);
        drop(late);
        let left = survive(|| quietly(|| remove(all))).unwrap_or_default();
        if !left.is_empty() {
            lock(&LATE).extend(left);
            std::thread::sleep(PAUSE);
        }
    }
}

/// Tries to remove these; returns those whose nodes have not answered.
fn remove(all: VecDeque<Late>) -> Vec<Late> {
    let mut left = Vec::new();
    for (mut marks, told) in by_cache(all) {
        marks.items.iter_mut().for_each(|item| item.error = None);
        marks.carry(Verb::Delete);
        for (item, (since, becomes)) in marks.items.into_iter().zip(told) {
            match item.error {
                None => becomes.happened(),
                Some(_) if since.elapsed() < LONGEST => {
                    left.push(Late { item, since, becomes: Invalidation::Late });
                }
                Some(_) => Invalidation::Lost.happened(),
            }
        }
    }
    left
}

/// Since when each of some entries has been late, and what becomes of it.
type Told = Vec<(Instant, Invalidation)>;

fn by_cache(all: VecDeque<Late>) -> Vec<(Marks, Told)> {
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
