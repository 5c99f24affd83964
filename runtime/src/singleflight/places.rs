//! How many bodies of one function run at once: each takes a place, and a call that finds none waits.
//!
//! The first to come is the first to go. A body that takes longer than a waiter of a flight
//! is patient for gives up its place: it may be stuck. How often that happens is bounded
//! by the [`Pace`], as overtaking is, so that a function that is slow because it is
//! loaded gets no more load.
//!
//! What a body with a place calls needs none: it would wait for its caller. A task that
//! the body spawns is not known to belong to it, and waits until it is taken for stuck.

use std::cell::Cell;
use std::collections::BTreeMap;
#[cfg(feature = "tokio")]
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Wake, Waker};
use std::time::{Duration, Instant};

use super::locks::{Condvar, Mutex, MutexGuard, lock};
#[cfg(feature = "tokio")]
use crate::detached;
use crate::singleflight::drive::PROMPT;
use crate::singleflight::pace::Pace;
use crate::telemetry::call::CallSpan;
use crate::time::servant::wake_all;
use crate::time::timer;

/// A body that has run for less is not stuck: a busy machine may be that late.
const SHORTEST: Duration = Duration::from_millis(50);
/// The bodies are looked at this often while a caller waits.
const LONGEST_TICK: Duration = Duration::from_secs(1);

/// The places of one function.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

/// Bodies and waiters have numbers in the order in which they came.
#[derive(Debug)]
struct Taken {
    /// The process that they are in; 0 before the first.
    process: u32,
    next: u64,
    /// The bodies that have a place, and since when.
    running: BTreeMap<u64, Instant>,
    waiting: BTreeMap<u64, Waker>,
    /// When a timer will call [`Places::tick`].
    watched: Option<Instant>,
}

/// Whether a body may begin.
pub(crate) enum Admitted {
    /// It needs no place.
    Free,
    Now(TakenPlace),
    Later(PlaceTurn),
}

impl Places {
    /// Creates so many places, of which none is taken.
    pub(crate) const fn new(most: usize) -> Self {
        let taken = Taken { process: 0, next: 0, running: BTreeMap::new(), waiting: BTreeMap::new(), watched: None };
        Places { most, taken: Mutex::new(taken) }
    }

    /// Sets how many there are.
    pub(crate) const fn limit(&mut self, most: usize) {
        self.most = most;
    }

    /// Whether there are fewer than there may be bodies.
    pub(crate) fn are_limited(&self) -> bool {
        self.most < usize::MAX
    }

    /// Takes a place if one is free, or else the next turn.
    pub(crate) fn admit(&'static self, pace: &'static Pace) -> Admitted {
        if is_inside() {
            return Admitted::Free;
        }
        let mut taken = lock(&self.taken);
        let number = taken.next;
        taken.next += 1;
        if taken.process == 0 || taken.running.len() >= self.most {
            taken.forget_parent();
        }
        if taken.waiting.is_empty() && taken.running.len() < self.most {
            taken.running.insert(number, Instant::now());
            return Admitted::Now(TakenPlace { places: self, number });
        }
        taken.waiting.insert(number, Waker::noop().clone());
        Admitted::Later(PlaceTurn { places: self, pace, number, is_over: false })
    }

    /// Looks at the bodies, which was due at `at`, and passes on the places of those that
    /// seem stuck. Returns when to look again, if a caller still waits.
    fn tick(&self, at: Instant, pace: &Pace) -> Option<Instant> {
        let mut taken = lock(&self.taken);
        let now = Instant::now();
        // It is to look earlier by now, and another timer does.
        if taken.watched != Some(at) {
            return None;
        }
        // Without a timer this comes too early.
        if taken.waiting.is_empty() || now < at {
            taken.watched = None;
            return None;
        }
        let is_late = now - at > PROMPT;
        let mut wakers = Vec::new();
        while taken.is_stuck(now, is_late, pace) {
            taken.running.pop_first();
            wakers.extend(taken.give(self.most, now));
        }
        taken.watched = taken.look_again(now, pace);
        let again = taken.watched;
        wake(taken, wakers);
        again
    }

    /// Gives up what this number has, a place or a turn.
    fn leave(&self, number: u64) {
        let mut taken = lock(&self.taken);
        taken.running.remove(&number);
        taken.waiting.remove(&number);
        let wakers = taken.give(self.most, Instant::now());
        wake(taken, wakers);
    }
}

impl Taken {
    /// Forgets, after a fork, the bodies and waiters of the parent: none of its threads is
    /// here.
    fn forget_parent(&mut self) {
        let process = std::process::id();
        if std::mem::replace(&mut self.process, process) != process {
            // Wakers of the parent's tasks may not be dropped here.
            std::mem::forget(std::mem::take(&mut self.waiting));
            self.running.clear();
            self.watched = None;
        }
    }

    /// Gives free places to the callers that wait. Returns their wakers.
    fn give(&mut self, most: usize, now: Instant) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while self.running.len() < most
            && let Some((number, waker)) = self.waiting.pop_first()
        {
            self.running.insert(number, now);
            wakers.push(waker);
        }
        wakers
    }

    /// Whether the body that has run for longest is to give its place to one that waits.
    fn is_stuck(&self, now: Instant, is_late: bool, pace: &Pace) -> bool {
        let Some((_, since)) = self.running.first_key_value().filter(|_| !self.waiting.is_empty()) else {
            return false;
        };
        let (age, patience) = (now.saturating_duration_since(*since), patience(pace));
        // A process that is so busy drives its bodies late, too.
        let is_excused = is_late && age < patience * 2;
        age >= patience && !is_excused && pace.pay(age).is_some()
    }

    fn look_again(&self, now: Instant, pace: &Pace) -> Option<Instant> {
        let (_, since) = self.running.first_key_value().filter(|_| !self.waiting.is_empty())?;
        let due = Some(*since + patience(pace)).filter(|due| *due > now);
        Some(due.unwrap_or_else(|| now + patience(pace)).min(now + LONGEST_TICK))
    }
}

/// Returns how long a body keeps its place while others wait.
fn patience(pace: &Pace) -> Duration {
    pace.patience().max(SHORTEST)
}

/// Wakes the callers that got a place, outside the lock: a waker may run any code.
fn wake(taken: MutexGuard<'_, Taken>, wakers: Vec<Waker>) {
    drop(taken);
    wake_all(wakers);
}

/// Looks at the bodies at this instant, and again while a caller waits.
fn watch(places: &'static Places, pace: &'static Pace, at: Instant) {
    timer::set(at, move || {
        if let Some(again) = places.tick(at, pace) {
            watch(places, pace, again);
        }
    });
}

/// The place of a body, which is given on when this is dropped.
#[must_use]
#[derive(Debug)]
pub(crate) struct TakenPlace {
    places: &'static Places,
    number: u64,
}

impl TakenPlace {
    /// Notes that this thread is in the body until the guard is dropped.
    pub(crate) fn enter(&self) -> Inside {
        let _ = INSIDE.try_with(|inside| inside.set(inside.get() + 1));
        Inside(PhantomData)
    }
}

impl Drop for TakenPlace {
    fn drop(&mut self) {
        self.places.leave(self.number);
    }
}

/// Gives a body's place back, and returns the time that the body was driven for. If the
/// place has been given to another body, this one may have waited for that, so it tells
/// nothing about computing.
pub(crate) fn told_by(place: Option<TakenPlace>, driven: Duration) -> Option<Duration> {
    let has_lost_it = |place: TakenPlace| !lock(&place.places.taken).running.contains_key(&place.number);
    (!place.is_some_and(has_lost_it)).then_some(driven)
}

thread_local! {
    /// How many bodies with places this thread is in. A task's are counted while it is
    /// polled.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// Whether this thread is in a body that has a place. A thread that ends is taken to be.
pub(super) fn is_inside() -> bool {
    INSIDE.try_with(Cell::get).unwrap_or(1) > 0
}

/// Leaves the body when dropped, on the same thread.
pub(crate) struct Inside(PhantomData<*const ()>);

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = INSIDE.try_with(|inside| inside.set(inside.get().saturating_sub(1)));
    }
}

/// The turn of a body that waits for a place. It is given up when this is dropped.
#[must_use]
pub(crate) struct PlaceTurn {
    places: &'static Places,
    pace: &'static Pace,
    number: u64,
    is_over: bool,
}

impl PlaceTurn {
    /// Polls for the place. Calls `arm` with the instant at which the bodies are to be
    /// looked at.
    pub(crate) fn poll(&mut self, waker: &Waker, arm: impl FnOnce(Instant)) -> Poll<TakenPlace> {
        let mut taken = lock(&self.places.taken);
        let now = Instant::now();
        let wakers = taken.give(self.places.most, now);
        let waits = match taken.waiting.get_mut(&self.number) {
            Some(waiting) => {
                waiting.clone_from(waker);
                true
            }
            None => false,
        };
        let is_earlier = |at: &Instant| waits && taken.watched.is_none_or(|watched| *at < watched);
        let at = taken.look_again(now, self.pace).filter(is_earlier);
        taken.watched = at.or(taken.watched);
        wake(taken, wakers);
        if waits {
            at.map(arm);
            return Poll::Pending;
        }
        self.is_over = true;
        Poll::Ready(TakenPlace { places: self.places, number: self.number })
    }

    /// Waits, blocking the thread. A worker of a runtime is handed over.
    pub(crate) fn wait(self) -> TakenPlace {
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let (places, pace) = (self.places, self.pace);
        let wait = move || {
            let mut turn = self;
            loop {
                if let Poll::Ready(place) = turn.poll(&waker, |at| watch(places, pace, at)) {
                    return place;
                }
                bell.wait();
            }
        };
        #[cfg(feature = "tokio")]
        return detached::hand_over(wait);
        #[cfg(not(feature = "tokio"))]
        wait()
    }

    /// Waits as [`PlaceTurn::wait`] does, yielding to the runtime.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_async(mut self) -> TakenPlace {
        let (places, pace) = (self.places, self.pace);
        poll_fn(move |context| self.poll(context.waker(), |at| watch(places, pace, at))).await
    }
}

impl Drop for PlaceTurn {
    fn drop(&mut self) {
        if !self.is_over {
            self.places.leave(self.number);
        }
    }
}

impl Admitted {
    /// Waits for the place, if one is needed, blocking the thread.
    #[inline(never)]
    pub(crate) fn wait(self, span: &CallSpan) -> Option<TakenPlace> {
        match self {
            Admitted::Free => None,
            Admitted::Now(place) => Some(place),
            Admitted::Later(turn) => {
                let wait = span.wait_for_place();
                let _wait = wait.enter();
                Some(turn.wait())
            }
        }
    }

    /// Waits as [`Admitted::wait`] does, yielding to the runtime.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_async(self, span: &CallSpan) -> Option<TakenPlace> {
        match self {
            Admitted::Free => None,
            Admitted::Now(place) => Some(place),
            Admitted::Later(turn) => Some(span.wait_for_place().within(turn.wait_async()).await),
        }
    }
}

/// Wakes a thread.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    /// Waits until it has rung since the last wait.
    fn wait(&self) {
        let mut rung = lock(&self.rung);
        while !std::mem::take(&mut *rung) {
            rung = self.changed.wait(rung).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *lock(&self.rung) = true;
        self.changed.notify_one();
    }
}
