//! Writers: what they do about the entries of the data that they change.
//!
//! Before a writer changes data, each entry is replaced by a *mark*: readers that find it
//! compute and do not store. Afterwards what is there is removed, or replaced. A mark is
//! renewed while its writer is at work, and ends by itself after the writer has died. So a
//! writer may die at any moment without leaving an old value behind.
//!
//! `marking` has the protocol for one item. Here many are carried through it at once.

pub(crate) mod late;
mod marking;
#[cfg(test)]
mod model;
mod relay;
mod sightings;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::cache::Cache;
use crate::error::Error;
use crate::exchange::{Outcome, Ttl, Verb};
use crate::singleflight::lease::Io;
use crate::singleflight::renewal::{self, Home, Renewed};
use crate::store::spread::At;
use crate::sync::lock;
use crate::telemetry::exchange::quietly;
use crate::telemetry::invalidations::Invalidation;
use crate::value::record::Record;
use marking::{Goal, Marking};
use relay::Relay;

/// How long a mark stands unless it is renewed.
const STANDS: Duration = Duration::from_secs(10);

/// How many entries are asked about at once: more would take longer than one request may.
const PORTION: usize = 500;

/// How often marks are renewed within the time that they stand.
const RENEWALS: u32 = 3;

/// Where an entry is.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) cache: Cache,
    pub(crate) key: String,
    /// The number and the name of the node, if it is not that of the key: each node has the
    /// stamp of a group.
    pub(crate) node: Option<(usize, String)>,
}

impl Destination {
    fn is_same(&self, other: &Destination) -> bool {
        Arc::ptr_eq(self.cache.store(), other.cache.store()) && self.key == other.key && self.node == other.node
    }
}

/// A new value for an entry, as it is stored.
#[derive(Debug)]
pub struct Update {
    pub(crate) record: Record,
    pub(crate) ttl: Ttl,
}

/// How a writer goes about it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Leaves entries unmarked, and removes them afterwards.
    pub(crate) is_unmarked: bool,
    /// Keeps readers from storing for this long afterwards.
    pub(crate) hold_off: Option<Duration>,
    /// Lets the values of groups be served as stale.
    pub(crate) is_soft: bool,
}

impl Manner {
    fn stands(self) -> Duration {
        STANDS.max(self.hold_off.unwrap_or_default().saturating_mul(RENEWALS))
    }

    fn end(self) -> Goal {
        let end = if self.is_soft { Goal::Soften } else { Goal::End };
        self.hold_off.map_or(end, Goal::Hold)
    }

    /// Removes an entry that was not marked before the data was changed.
    fn removal(self) -> Marking {
        if self.is_unmarked { Marking::unmarked() } else { Marking::ending(self.stands()) }
    }
}

/// An entry that a writer is about to change.
#[derive(Debug)]
struct Affected {
    destination: Destination,
    marking: Marking,
    error: Option<Error>,
}

impl Affected {
    fn asks(&self) -> bool {
        self.error.is_none() && !self.marking.is_over()
    }

    /// Makes this process notice that the data is being changed.
    fn forget(&self) {
        let Destination { cache, key, node } = &self.destination;
        match node {
            None => cache.backend().forget(key),
            // Which values are in a group is not known.
            Some(_) => cache.backend().forget_all(),
        }
    }
}

/// The entries that a writer changes, all of one cache.
#[derive(Debug)]
struct Marks {
    cache: Cache,
    items: Vec<Affected>,
}

/// What one round asks: some of the items, and how many requests are for each.
struct Asking<'a> {
    places: Vec<(usize, usize)>,
    requests: Vec<At<'a>>,
    began: Instant,
}

impl Marks {
    fn is_of(&self, cache: &Cache) -> bool {
        Arc::ptr_eq(self.cache.store(), cache.store())
    }

    /// Decides what is asked next; `None` if nothing is.
    fn round(&mut self) -> Option<Asking<'_>> {
        let began = Instant::now();
        let asking = self.items.iter().enumerate().filter(|(_, item)| item.asks());
        let asking: Vec<usize> = asking.map(|(place, _)| place).take(PORTION).collect();
        asking.iter().for_each(|place| self.items[*place].marking.decide(began));
        let (mut places, mut requests) = (Vec::new(), Vec::new());
        for place in asking {
            let (item, before) = (&self.items[place], requests.len());
            let node = item.destination.node.as_ref().map(|(number, _)| *number);
            requests.extend(item.marking.requests(&item.destination.key).map(|request| At { node, request }));
            places.push((place, requests.len() - before));
        }
        (!places.is_empty()).then_some(Asking { places, requests, began })
    }

    /// Takes the replies.
    fn answered(&mut self, places: &[(usize, usize)], outcomes: Vec<Outcome>, began: Instant) {
        let mut outcomes = outcomes.into_iter();
        for (place, requests) in places {
            let item = &mut self.items[*place];
            item.error = item.marking.answered(outcomes.by_ref().take(*requests), began).err();
        }
    }

    /// Waits no longer for what was asked: a panic has cost the answers.
    fn give_up(&mut self) {
        for item in self.items.iter_mut().filter(|item| item.asks()) {
            item.error = item.marking.answered([], Instant::now()).err();
        }
    }

    /// Gives each item this goal.
    fn turn_to(&mut self, goal: impl Fn() -> Goal) {
        for item in &mut self.items {
            item.error = None;
            item.marking.turn_to(goal());
        }
    }

    fn forget(&self) {
        self.items.iter().for_each(Affected::forget);
    }
}

macro_rules! carry {
    ($(#[$attr:meta])* $name:ident, $ask_at:ident, ($($async:tt)*), ($($await:tt)*)) => {
        $(#[$attr])*
        $($async)* fn $name(&mut self, verb: Verb) {
            let cache = self.cache.clone();
            while let Some(Asking { places, requests, began }) = self.round() {
                // A node that does not answer must not take the time of the others.
                let budget = cache.budget();
                let outcomes = cache.store().$ask_at(verb, &requests, &budget)$($await)*;
                drop(requests);
                self.answered(&places, outcomes, began);
            }
        }
    };
}

impl Marks {
    carry!(
        /// Carries each item to its goal, as far as its node answers, with one exchange per node
        /// and round.
        carry, ask_at, (), ()
    );
    #[cfg(feature = "tokio")]
    carry!(
        /// Does the same, yielding.
        carry_async, ask_at_async, (async), (.await)
    );
}

/// A writer at work.
#[derive(Debug)]
pub(crate) struct Writer {
    marks: Vec<Arc<Marked>>,
    /// What was known before the data was changed.
    destinations: Vec<Destination>,
    manner: Manner,
    io: Io,
    /// The process that marks and ends. A forked child has only a copy.
    process: u32,
    is_over: bool,
}

/// Marks that are renewed while their writer is at work.
#[derive(Debug)]
struct Marked {
    relay: Relay<Marks>,
    /// Whether the entries were marked before the data was changed.
    is_known_from_the_start: bool,
    stands: Duration,
    standing: Mutex<MarksState>,
}

/// Since when marks are known to stand.
#[derive(Clone, Copy, Debug)]
struct MarksState {
    /// When the last change that was acknowledged was sent.
    since: Option<Instant>,
    /// When they are renewed next.
    due: Instant,
    /// Whether one of them was found to be missing.
    was_lost: bool,
}

impl Marked {
    fn new(marks: Marks, stands: Duration) -> Self {
        let standing = MarksState { since: None, due: Instant::now() + stands / RENEWALS, was_lost: false };
        Marked { relay: Relay::new(marks), is_known_from_the_start: true, stands, standing: Mutex::new(standing) }
    }

    /// Notes how marking or renewing went that began then.
    fn stand(&self, marks: &Marks, began: Instant) {
        let mut standing = lock(&self.standing);
        if marks.items.iter().all(|item| item.error.is_none() && item.marking.is_marked()) {
            standing.since = Some(began);
        }
        standing.was_lost |= marks.items.iter().any(|item| item.marking.was_lost());
        standing.due = began + self.stands / RENEWALS;
    }

    /// Returns how long the marks are certain to stand.
    fn stands_for(&self) -> Duration {
        let since = lock(&self.standing).since;
        // The server's seconds need not begin when this process's do.
        let sure = self.stands.saturating_sub(Duration::from_secs(1));
        since.map_or(Duration::ZERO, |since| (since + sure).saturating_duration_since(Instant::now()))
    }
}

impl Renewed for Marked {
    /// Returns a home that no other has: the entries are on several nodes.
    fn home(&self) -> Home {
        (std::ptr::from_ref(self).addr(), usize::MAX)
    }

    fn is_due(&self) -> bool {
        lock(&self.standing).due <= Instant::now()
    }

    /// Renews all of them in one go.
    fn renew(&self) {
        let Some(mut marks) = self.relay.try_take() else { return };
        let began = Instant::now();
        marks.turn_to(|| Goal::Mark);
        quietly(|| marks.carry(Verb::Touch));
        self.stand(&marks, began);
    }
}

/// Groups entries by their caches' stores. None is there twice.
fn by_store(destinations: Vec<Destination>, marking: impl Fn() -> Marking) -> Vec<Marks> {
    let (mut all, mut known) = (Vec::<Marks>::new(), HashSet::new());
    for destination in destinations {
        let index = all.iter().position(|marks| marks.is_of(&destination.cache)).unwrap_or(all.len());
        if index == all.len() {
            all.push(Marks { cache: destination.cache.clone(), items: Vec::new() });
        }
        if known.insert((index, destination.key.clone(), destination.node.clone())) {
            let marking = match destination.node {
                Some(_) => marking().of_stamp(),
                None => marking(),
            };
            all[index].items.push(Affected { destination, marking, error: None });
        }
    }
    all
}

impl Writer {
    fn of(destinations: Vec<Destination>, manner: Manner, io: Io, marking: impl Fn() -> Marking) -> Self {
        let known = destinations.clone();
        let marks = by_store(destinations, marking).into_iter();
        let marks = marks.map(|marks| Arc::new(Marked::new(marks, manner.stands()))).collect();
        Writer { marks, destinations: known, manner, io, process: std::process::id(), is_over: false }
    }

    /// Adds what is known only after the data was changed: other entries, and nodes that
    /// have been added meanwhile.
    fn grow(&mut self, mut others: Vec<Destination>) {
        let items = &self.destinations;
        let everywhere = items.iter().filter(|item| item.node.is_some());
        let groups: HashSet<_> = everywhere.map(|item| (Arc::as_ptr(item.cache.store()), item.key.as_str())).collect();
        for (store, key) in groups {
            let Some(item) = items.iter().find(|item| Arc::as_ptr(item.cache.store()) == store) else { continue };
            let nodes = item.cache.store().numbered().into_iter();
            others.extend(nodes.map(|node| Destination { key: key.to_owned(), node: Some(node), ..item.clone() }));
        }
        others.retain(|other| !items.iter().any(|item| item.is_same(other)));
        let manner = self.manner;
        let added = by_store(others, || manner.removal()).into_iter();
        let added = added.map(|marks| Marked::new(marks, manner.stands()));
        self.marks.extend(added.map(|marked| Arc::new(Marked { is_known_from_the_start: false, ..marked })));
    }

    /// Takes in how marking went.
    fn marked(&self, marked: &Arc<Marked>, marks: &Marks, began: Instant) -> Result<(), Error> {
        marked.stand(marks, began);
        let renewed: Weak<dyn Renewed> = Arc::<Marked>::downgrade(marked);
        renewal::renew(renewed);
        marks.items.iter().find_map(|item| item.error.as_ref()).map_or(Ok(()), |error| Err(error.alike()))
    }

    /// Returns how long all marks are certain to stand, unless their servers lose them.
    pub(crate) fn stands_for(&self) -> Duration {
        self.marks.iter().map(|marked| marked.stands_for()).min().unwrap_or(Duration::MAX)
    }

    /// Whether no mark was found to be missing, and each has stood once.
    fn was_marked(&self) -> bool {
        let stood = |marked: &Arc<Marked>| {
            let standing = *lock(&marked.standing);
            standing.since.is_some() && !standing.was_lost
        };
        let mut marked = self.marks.iter().filter(|marked| marked.is_known_from_the_start);
        !self.manner.is_unmarked && marked.all(stood)
    }

    /// Leaves the marks as they are.
    #[cfg(all(test, feature = "tokio"))]
    pub(crate) fn kill(mut self) {
        self.is_over = true;
    }

    /// Sets what becomes of the items.
    fn end(&self, marks: &mut Marks, update: Option<&mut Option<Update>>) {
        marks.turn_to(|| self.manner.end());
        let update = update.and_then(Option::take);
        if let (Some(item), Some(Update { record, ttl })) = (marks.items.first_mut(), update) {
            item.marking.turn_to(Goal::Put(record, ttl));
        }
    }
}

/// Leaves what has no reply to be done later, and counts.
fn ended(marks: &mut Marks) -> Result<(), Error> {
    let (mut failed, mut nodes) = (None, Vec::new());
    for item in std::mem::take(&mut marks.items) {
        match &item.error {
            None => Invalidation::Done.happened(),
            Some(error) => {
                failed.get_or_insert_with(|| error.alike());
                nodes.extend(item.destination.node.as_ref().map(|(_, name)| name.clone()));
                late::leave(item);
            }
        }
    }
    match failed {
        None => Ok(()),
        Some(error) if nodes.is_empty() => Err(error),
        Some(error) => Err(Error::new(error.kind(), format!("not invalidated on {}: {error}", nodes.join(", ")))),
    }
}

macro_rules! work {
    (
        $begin:ident, $end:ident, $remove:ident, $take:ident, $carry:ident, $io:expr,
        ($($async:tt)*), ($($await:tt)*)
    ) => {
        impl Writer {
            /// Marks what a writer is about to change. Also gives the error, if a node has
            /// not answered.
            pub(crate) $($async)* fn $begin(destinations: Vec<Destination>, manner: Manner) -> (Self, Result<(), Error>) {
                if manner.is_unmarked {
                    return (Self::of(destinations, manner, $io, Marking::unmarked), Ok(()));
                }
                let work = Self::of(destinations, manner, $io, || Marking::begin(manner.stands()));
                let mut result = Ok(());
                for marked in &work.marks {
                    let began = Instant::now();
                    let mut marks = marked.relay.$take()$($await)*;
                    marks.forget();
                    marks.$carry(Verb::Set)$($await)*;
                    marks.forget();
                    result = result.and(work.marked(marked, &marks, began));
                }
                (work, result)
            }

            /// Removes what was there, or replaces it, and the others. Says whether it was
            /// marked all the time.
            ///
            /// # Errors
            ///
            /// If a node has not answered. It is asked again, for some time.
            pub(crate) $($async)* fn $end(
                mut self,
                mut update: Option<Update>,
                others: Vec<Destination>,
            ) -> Result<bool, Error> {
                if self.process != std::process::id() {
                    self.is_over = true;
                    return Ok(false);
                }
                // From now on they are ended even if no caller waits for that.
                self.grow(others);
                let mut result = Ok(());
                for marked in &self.marks {
                    let mut marks = marked.relay.$take()$($await)*;
                    self.end(&mut marks, Some(&mut update));
                    marks.forget();
                    marks.$carry(Verb::Delete)$($await)*;
                    marks.forget();
                    result = result.and(ended(&mut marks));
                }
                self.is_over = true;
                result.map(|()| self.was_marked())
            }

            /// Removes what was not marked.
            ///
            /// # Errors
            ///
            /// The same as for the end of a writer.
            pub(crate) $($async)* fn $remove(destinations: Vec<Destination>, manner: Manner) -> Result<bool, Error> {
                Self::of(destinations, manner, $io, || manner.removal()).$end(None, Vec::new())$($await)*
            }
        }
    };
}

work!(begin, finish, remove, take, carry, Io::Blocking, (), ());
#[cfg(feature = "tokio")]
work!(begin_async, finish_async, remove_async, take_async, carry_async, Io::Async, (async), (.await));

/// Ends a writer that did not: it has panicked, or its future was dropped, which cannot
/// wait.
impl Drop for Writer {
    fn drop(&mut self) {
        if self.is_over || self.process != std::process::id() {
            return;
        }
        for marked in &self.marks {
            match self.io {
                Io::Blocking => {
                    let mut marks = marked.relay.take();
                    self.end(&mut marks, None);
                    marks.forget();
                    marks.carry(Verb::Delete);
                    let _ = ended(&mut marks);
                }
                #[cfg(feature = "tokio")]
                Io::Async => late::leave_all(Arc::clone(marked), self.manner.end()),
            }
        }
    }
}
