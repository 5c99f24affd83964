//! Records what the cache does for calls, where a program observes them.
//!
//! A recording belongs to the current thread while a closure runs, or to a future
//! whenever it is polled. While the body of a recorded call runs, its calls are
//! recorded below it.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::observed::{BatchCounts, CallOutcome, MissReason, Observed, ObservedCall};
use crate::exchange::Ttl;
use crate::sync::lock;

thread_local! {
    /// Whether calls are recorded: all that a call reads while it is not observed.
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    /// Where calls are recorded.
    static CALLS: RefCell<Option<Arc<CallList>>> = const { RefCell::new(None) };
}

/// Runs `work`, and returns with its value what the cache did for the memoized calls
/// that it made on this thread.
///
/// Calls made by the body of another one are listed below that one. Observations
/// nest: the outer one has the calls of the inner one, too. Work that is spawned on
/// another thread or as a task is not observed, nor is a refresh in the background. A
/// record is kept of each call, so `work` should not make millions of them.
///
/// ```
/// use memocached::{CallOutcome, memcached, observed};
///
/// #[memcached(key = "user:<id>", ttl = 60)]
/// fn user(id: u64) -> String {
///     format!("user {id}")
/// }
///
/// let (name, seen) = observed(|| user(7));
/// assert_eq!(name, "user 7");
/// let call = seen.call().expect("one call was made");
/// assert_eq!(call.key.as_deref(), Some("user:7"));
/// assert_eq!(call.outcome.to_string(), "miss; absent");
///
/// let (_, seen) = observed(|| user(7));
/// assert_eq!(seen.call().map(|call| call.outcome), Some(CallOutcome::Hit));
/// ```
pub fn observed<R>(work: impl FnOnce() -> R) -> (R, Observed) {
    let calls = CallList::within_current();
    let value = {
        let _entered = CallList::enter(&calls);
        work()
    };
    (value, calls.shown())
}

/// Runs a future, and returns with its value what the cache did for the memoized
/// calls that it made, like [`observed`].
///
/// The observation follows the future between threads and has no calls of other
/// futures on the same thread. It has those of all futures that this one polls, in
/// the order in which they began. A task that the future spawns is not observed:
/// observe within it. A call whose future was dropped is
/// [unfinished](CallOutcome::Unfinished).
///
/// ```
/// # #[cfg(feature = "tokio")]
/// # fn main() {
/// use memocached::{memcached, observed_async};
///
/// #[memcached(key = "greeting:<name>", ttl = 60)]
/// async fn greeting(name: &str) -> String {
///     format!("Good morning, {name}!")
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let (text, seen) = observed_async(greeting("Ada")).await;
/// let header = seen.call().map(|call| format!("X-Cache: {}", call.outcome));
/// assert_eq!(header.as_deref(), Some("X-Cache: miss; absent"));
/// # assert_eq!(text, "Good morning, Ada!");
/// # });
/// # }
/// # #[cfg(not(feature = "tokio"))]
/// # fn main() {}
/// ```
pub async fn observed_async<F: Future>(work: F) -> (F::Output, Observed) {
    let calls = CallList::within_current();
    let mut work = pin!(work);
    let value = std::future::poll_fn(|context| {
        let _entered = CallList::enter(&calls);
        work.as_mut().poll(context)
    })
    .await;
    (value, calls.shown())
}

/// Whether calls are recorded now.
#[inline]
pub(crate) fn is_on() -> bool {
    IS_ON.get()
}

/// Calls in the order in which they began.
#[derive(Debug, Default)]
struct CallList {
    calls: Mutex<Vec<Observation>>,
    /// The list of the observation around this one, which gets them as well.
    around: Option<Arc<CallList>>,
}

impl CallList {
    fn current() -> Option<Arc<CallList>> {
        CALLS.try_with(|calls| calls.borrow().clone()).ok().flatten()
    }

    fn within_current() -> Arc<CallList> {
        Arc::new(CallList { calls: Mutex::default(), around: CallList::current() })
    }

    fn add(&self, call: &Observation) {
        let mut list = Some(self);
        while let Some(CallList { calls, around }) = list {
            lock(calls).push(call.clone());
            list = around.as_deref();
        }
    }

    /// Records calls here, until the guard is dropped.
    fn enter(list: &Arc<CallList>) -> RecordingIn {
        RecordingIn { before: record_in(Some(Arc::clone(list))) }
    }

    fn shown(&self) -> Observed {
        Observed { calls: self.shown_calls() }
    }

    fn shown_calls(&self) -> Vec<ObservedCall> {
        // Not under the lock: a call that is still under way may add to it.
        let calls = lock(&self.calls).clone();
        calls.iter().map(Observation::shown).collect()
    }
}

/// Restores what was recorded in before, even by a panic.
#[derive(Debug)]
pub(crate) struct RecordingIn {
    before: Option<Arc<CallList>>,
}

impl Drop for RecordingIn {
    fn drop(&mut self) {
        drop(record_in(self.before.take()));
    }
}

/// Records calls in this list from now on, and returns the one before.
fn record_in(list: Option<Arc<CallList>>) -> Option<Arc<CallList>> {
    let is_on = list.is_some();
    // A thread that ends records nothing.
    let before = CALLS.try_with(|calls| calls.replace(list));
    IS_ON.set(is_on && before.is_ok());
    before.ok().flatten()
}

/// A value that a call found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FoundValue {
    /// In bytes.
    pub(crate) size: usize,
    /// The time the value took to compute, in nanoseconds.
    pub(crate) cost: u64,
    /// How many seconds it stays fresh, if it is and that is known.
    pub(crate) left: Option<u64>,
    /// How old it is, if that is known.
    pub(crate) age: Option<Duration>,
}

/// The record of one call.
#[derive(Clone, Debug)]
pub(crate) struct Observation(Arc<CallRecord>);

#[derive(Debug)]
struct CallRecord {
    name: &'static str,
    template: &'static str,
    facts: Mutex<CallFacts>,
    /// The calls that the body makes.
    nested: Arc<CallList>,
}

/// What is known of a call by now.
#[derive(Debug)]
struct CallFacts {
    outcome: CallOutcome,
    /// How the call ends once its body has returned.
    pending: Option<CallOutcome>,
    /// The elements, if the call has several.
    batch: Option<BatchCounts>,
    key: Option<String>,
    stored_key: Option<String>,
    node: Option<String>,
    cost: Option<Duration>,
    age: Option<Duration>,
    /// The value that this call computes anew.
    old: FoundValue,
    ttl_left: Option<Duration>,
}

impl Observation {
    /// Begins the record of a call, if calls are recorded now.
    #[inline]
    pub(super) fn begin(name: &'static str, template: &'static str, batch: Option<BatchCounts>) -> Option<Self> {
        if is_on() { Self::begin_recorded(name, template, batch) } else { None }
    }

    #[cold]
    fn begin_recorded(name: &'static str, template: &'static str, batch: Option<BatchCounts>) -> Option<Self> {
        let calls = CallList::current()?;
        let call = Observation::of(name, template, batch);
        calls.add(&call);
        Some(call)
    }

    fn of(name: &'static str, template: &'static str, batch: Option<BatchCounts>) -> Self {
        let facts = CallFacts {
            outcome: CallOutcome::Unfinished,
            pending: None,
            batch,
            key: None,
            stored_key: None,
            node: None,
            cost: None,
            age: None,
            old: FoundValue::default(),
            ttl_left: None,
        };
        Observation(Arc::new(CallRecord { name, template, facts: Mutex::new(facts), nested: Arc::default() }))
    }

    /// Returns a record that is never shown, for what continues after the call.
    #[cfg(feature = "tokio")]
    pub(super) fn unseen(&self) -> Self {
        Observation::of(self.0.name, self.0.template, None)
    }

    fn note(&self, note: impl FnOnce(&mut CallFacts)) {
        note(&mut lock(&self.0.facts));
    }

    /// Notes the key, and how the store has it.
    pub(crate) fn at(&self, key: &str, stored_key: &str) {
        self.note(|facts| {
            facts.key = Some(key.to_owned());
            facts.stored_key = Some(stored_key.to_owned());
        });
    }

    /// Notes that the value is stored under another key.
    pub(super) fn moved_to(&self, stored_key: &str) {
        self.note(|facts| facts.stored_key = Some(stored_key.to_owned()));
    }

    /// Notes the node that is asked, if one is.
    pub(super) fn asks(&self, node: Option<String>) {
        self.note(|facts| facts.node = node);
    }

    /// Notes a value that ends the call or one of its elements. A cost of zero is
    /// unknown.
    pub(super) fn found(&self, outcome: CallOutcome, value: FoundValue) {
        self.note(|facts| {
            if !facts.counts(outcome) {
                facts.outcome = outcome;
                facts.cost = known(value.cost);
                facts.age = value.age;
                facts.ttl_left = value.left.map(Duration::from_secs);
            }
        });
    }

    /// Notes that the call or one of its elements computes, and ends like this when
    /// that is done.
    pub(super) fn computes(&self, outcome: CallOutcome) {
        self.note(|facts| {
            if !facts.counts(outcome) {
                facts.pending = Some(outcome);
            }
        });
    }

    /// Notes that the call computes in place of a value.
    pub(super) fn renews(&self, reason: MissReason, old: FoundValue) {
        self.note(|facts| {
            if facts.batch.is_none() {
                facts.pending = Some(CallOutcome::Miss(reason));
                facts.old = old;
            }
        });
    }

    /// Notes that it has done so.
    pub(super) fn renewed(&self) {
        self.note(|facts| {
            facts.counts(CallOutcome::Miss(MissReason::Refresh));
        });
    }

    /// Notes that computing has failed, and that the old value is served.
    pub(super) fn fell_back(&self) {
        self.note(|facts| {
            if !facts.counts(CallOutcome::Stale) {
                facts.outcome = CallOutcome::Stale;
                facts.cost = known(facts.old.cost);
                facts.age = facts.old.age;
            }
        });
    }

    /// Notes that the call returns the cache's error.
    pub(super) fn propagated(&self) {
        self.note(|facts| facts.outcome = CallOutcome::Miss(MissReason::Unavailable));
    }

    /// Notes that a body has returned after so many nanoseconds.
    pub(super) fn computed(&self, nanos: u64) {
        self.note(|facts| {
            let before = facts.cost.filter(|_| facts.batch.is_some()).unwrap_or_default();
            facts.cost = Some(before.saturating_add(Duration::from_nanos(nanos)));
            if let Some(outcome) = facts.pending.take() {
                facts.outcome = outcome;
            }
        });
    }

    /// Notes that the value was stored.
    pub(super) fn stored(&self, ttl: Ttl) {
        self.note(|facts| match ttl {
            Ttl::For(ttl) if facts.batch.is_none() => facts.ttl_left = Some(ttl),
            _ => {}
        });
    }

    /// Notes how many elements the call has.
    pub(super) fn several(&self, elements: usize) {
        self.note(|facts| facts.batch.get_or_insert_default().elements = elements);
    }

    /// Notes that all elements have ended.
    pub(super) fn tallied(&self) {
        self.note(|facts| facts.outcome = CallOutcome::Batch(facts.batch.unwrap_or_default()));
    }

    /// Records the calls that the body makes below this one, until the guard is
    /// dropped.
    pub(crate) fn enter(&self) -> RecordingIn {
        CallList::enter(&self.0.nested)
    }

    fn shown(&self) -> ObservedCall {
        let CallRecord { name, template, facts, nested } = &*self.0;
        let calls = nested.shown_calls();
        let facts = lock(facts);
        ObservedCall {
            name,
            template,
            outcome: facts.outcome,
            key: facts.key.clone(),
            stored_key: facts.stored_key.clone(),
            node: facts.node.clone(),
            cost: facts.cost,
            age: facts.age,
            ttl_left: facts.ttl_left,
            calls,
        }
    }
}

impl CallFacts {
    /// Counts an element that ended like this; `false` if the call has none.
    fn counts(&mut self, outcome: CallOutcome) -> bool {
        let Some(counts) = &mut self.batch else { return false };
        counts.of(outcome).into_iter().for_each(|count| *count += 1);
        true
    }
}

fn known(cost: u64) -> Option<Duration> {
    (cost > 0).then(|| Duration::from_nanos(cost))
}
