//! What passes between the leader of a flight and its waiters: one protocol for
//! threads and tasks.
//!
//! A flight has a leader until it lands. The leader's baton, its right to store,
//! lies with the flight: a waiter that succeeds a leader which left, or that
//! overtakes one which takes too long or stands still, computes and stores under
//! the same right. Of several leaders, the first to end lands the flight.
//!
//! When waiters overtake follows from the site's [`Pace`]: the first after 1.5
//! times as long as computing usually takes, each further one after twice as long as
//! the one before, one at a time, and each for a token.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::locks::{Condvar, Mutex, MutexGuard, lock};
use crate::singleflight::drive::{Drive, PROMPT};
use crate::singleflight::pace::{Pace, Payment};
use crate::singleflight::places;
use crate::time::servant::wake_all;
use crate::time::timer;

/// The state of one flight. `B` entitles a leader to more than computing, `L` is
/// what the flight lands with.
#[derive(Debug)]
pub(super) struct FlightState<B, L> {
    state: Mutex<Shared<B, L>>,
    changed: Condvar,
    pace: &'static Pace,
}

#[derive(Debug)]
struct Shared<B, L> {
    /// Callers that compute.
    leaders: usize,
    baton: Option<B>,
    landed: Option<L>,
    /// Threads and tasks that wait.
    waiting: usize,
    /// Wakers of waiting tasks, by the tasks' numbers.
    wakers: HashMap<u64, Waker>,
    /// When the first leader began to compute, or the flight if it has not.
    begun: Instant,
    /// How often the leader was overtaken because of its time.
    overtaken: u32,
    /// No waiter overtakes earlier because of the time.
    not_before: Instant,
    /// Whether the leader waits for a place for its body.
    is_queued: bool,
    /// The polls of the caller that began to compute last.
    drive: Arc<Drive>,
    /// The longest that a look at the leader was late.
    late: Duration,
    /// Whether a timer will call [`FlightState::tick`].
    armed: bool,
    /// Whether one of the waiting threads looks at the leader.
    watched: bool,
}

/// Why a waiter wakes up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wakeup<B, L> {
    /// The flight is over.
    Landed(L),
    /// This waiter leads now: the leader left. It has the baton, if there is one.
    Succeeds(Option<B>),
    /// This waiter leads now, beside a leader that takes too long or stands still.
    Overtakes(Option<B>, Payment),
}

/// What becomes of a flight that a caller leaves.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left<B> {
    /// It goes on.
    Open,
    /// It is over: no caller is left. The baton is of no more use here.
    Closed(Option<B>),
}

/// Looks at a leader at least this often.
const LONGEST_TICK: Duration = Duration::from_secs(1);
/// A leader may be late so many times over by what the looks at it were late: its
/// runtime's threads and its task have to wait for their turns one after the other.
const LAGS: u32 = 4;

impl<B: Clone, L: Clone> FlightState<B, L> {
    /// Begins a flight with one leader, whose polls `drive` notes.
    pub(super) fn new(pace: &'static Pace, drive: Arc<Drive>) -> Self {
        let begun = Instant::now();
        let state = Shared {
            leaders: 1,
            baton: None,
            landed: None,
            waiting: 0,
            wakers: HashMap::new(),
            begun,
            overtaken: 0,
            not_before: begun,
            is_queued: false,
            drive,
            late: Duration::ZERO,
            armed: false,
            watched: false,
        };
        FlightState { state: Mutex::new(state), changed: Condvar::new(), pace }
    }

    /// Notes that the leader begins to compute: its time counts from now.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.begun = Instant::now();
        (state.not_before, state.is_queued) = (state.begun, false);
    }

    /// Notes whether the leader waits for a place for its body. A waiter that has one does not
    /// wait for it then: it may be the place that the leader waits for.
    pub(super) fn queue(&self, is_queued: bool) {
        let mut state = self.state();
        state.is_queued = is_queued;
        if is_queued {
            self.wake_all(state);
        }
    }

    /// Notes the polls of the caller that computes here from now on.
    #[cfg(feature = "tokio")]
    pub(super) fn driven_by(&self, drive: &Arc<Drive>) {
        self.state().drive = Arc::clone(drive);
    }

    /// Notes that the leader does not compute for this long: it looks the value up,
    /// stores it, or pauses before it asks about another process again. It sees to
    /// the time itself, as long as it comes back.
    pub(super) fn pause(&self, pause: Duration) {
        let back = timer::later(Instant::now(), pause) + self.pace.patience();
        let mut state = self.state();
        state.not_before = state.not_before.max(back);
    }

    /// Lays the leader's baton beside the flight.
    pub(super) fn lay_down(&self, baton: B) {
        // Dropped outside the lock: a baton may be given back to a server.
        let _before = self.state().baton.replace(baton);
    }

    /// Begins a wait that [`FlightState::wait`], [`FlightState::poll`] or
    /// [`FlightState::leave`] ends.
    pub(super) fn join(&self) {
        self.state().waiting += 1;
    }

    /// Blocks until there is something to do. `drive` is the waiter's own, should
    /// it lead. Of all threads that wait, one looks at the leader.
    pub(super) fn wait(&self, drive: &Arc<Drive>) -> Wakeup<B, L> {
        let mut state = self.state();
        let mut watches = false;
        loop {
            let now = Instant::now();
            if let Some(wakeup) = self.wakeup(&mut state, now, drive) {
                if watches {
                    state.watched = false;
                    self.changed.notify_one();
                }
                return wakeup;
            }
            watches |= !std::mem::replace(&mut state.watched, true);
            let until = if watches { self.look_again(&state, now) } else { now + LONGEST_TICK };
            let (waited, _) = self.changed.wait_timeout(state, until - now).unwrap_or_else(PoisonError::into_inner);
            state = waited;
            if watches {
                self.excuse(&mut state, until);
            }
        }
    }

    /// Polls for the task with this number. Calls `arm` with the instant at which
    /// [`FlightState::tick`] is due.
    pub(super) fn poll(
        &self,
        task: u64,
        waker: &Waker,
        drive: &Arc<Drive>,
        arm: impl FnOnce(Instant),
    ) -> Poll<Wakeup<B, L>> {
        let mut state = self.state();
        let now = Instant::now();
        if let Some(wakeup) = self.wakeup(&mut state, now, drive) {
            state.wakers.remove(&task);
            return Poll::Ready(wakeup);
        }
        state.wakers.insert(task, waker.clone());
        let armed = std::mem::replace(&mut state.armed, true);
        let at = self.look_again(&state, now);
        drop(state);
        if !armed {
            arm(at);
        }
        Poll::Pending
    }

    /// Looks at the leader, which was due at `at`, and wakes the waiters if one of
    /// them may overtake it. Returns when to look again, if there is a reason to.
    pub(super) fn tick(&self, at: Instant) -> Option<Instant> {
        let mut state = self.state();
        let now = Instant::now();
        let is_over = state.landed.is_some() || state.wakers.is_empty();
        // Without a timer this comes too early, and the tasks see to the time.
        if is_over || now < at {
            state.armed = false;
            self.wake_all(state);
            return None;
        }
        self.excuse(&mut state, at);
        let again = self.look_again(&state, now);
        if now >= self.due(&state) || state.drive.stands_still(now, LAGS * state.late) {
            self.wake_all(state);
        }
        Some(again)
    }

    /// Ends a wait early. The last waiter to leave a flight without a leader ends
    /// it with `closed`.
    pub(super) fn leave(&self, task: u64, closed: L) -> Left<B> {
        let mut state = self.state();
        state.wakers.remove(&task);
        state.waiting -= 1;
        if state.waiting > 0 || state.leaders > 0 || state.landed.is_some() {
            return Left::Open;
        }
        state.landed = Some(closed);
        Left::Closed(state.baton.take())
    }

    /// Ends the flight, unless it has ended already. A paid overtaker that is the
    /// first to end gets its token back. The baton is of no more use here.
    pub(super) fn land(&self, with: L, payment: Option<Payment>) -> Option<B> {
        let mut state = self.state();
        if state.landed.is_none() && payment == Some(Payment::Token) {
            self.pace.refund();
        }
        state.landed.get_or_insert(with);
        let baton = state.baton.take();
        self.wake_all(state);
        baton
    }

    /// Leaves the lead. Without a waiter the flight ends with `closed`. A paid overtaker
    /// that leaves before the flight has ended gets its token back: it computes no more.
    pub(super) fn retire(&self, closed: L, payment: Option<Payment>) -> Left<B> {
        let mut state = self.state();
        if state.landed.is_none() && payment == Some(Payment::Token) {
            self.pace.refund();
        }
        state.leaders -= 1;
        if state.leaders > 0 || state.landed.is_some() {
            return Left::Open;
        }
        if state.waiting == 0 {
            state.landed = Some(closed);
            return Left::Closed(state.baton.take());
        }
        self.wake_all(state);
        Left::Open
    }

    /// Leaves the lead to other leaders, if there are any. Returns whether there are.
    pub(super) fn leave_to_others(&self) -> bool {
        let mut state = self.state();
        let has_others = state.leaders > 1;
        if has_others {
            state.leaders -= 1;
        }
        has_others
    }

    /// Returns the time that computing takes here.
    pub(super) fn pace(&self) -> &'static Pace {
        self.pace
    }

    /// Whether the flight is over.
    pub(super) fn has_landed(&self) -> bool {
        self.state().landed.is_some()
    }

    /// Whether a waiter needs what the flight lands with.
    pub(super) fn is_awaited(&self) -> bool {
        self.state().waiting > 0
    }

    #[cfg(all(test, feature = "servers"))]
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting
    }

    fn wakeup(&self, state: &mut Shared<B, L>, now: Instant, drive: &Arc<Drive>) -> Option<Wakeup<B, L>> {
        let wakeup = if let Some(landed) = &state.landed {
            Wakeup::Landed(landed.clone())
        } else if state.leaders == 0 {
            Wakeup::Succeeds(state.baton.clone())
        } else {
            self.overtake(state, now)?
        };
        if !matches!(wakeup, Wakeup::Landed(_)) {
            state.leaders += 1;
            state.drive = Arc::clone(drive);
        }
        state.waiting -= 1;
        Some(wakeup)
    }

    fn overtake(&self, state: &mut Shared<B, L>, now: Instant) -> Option<Wakeup<B, L>> {
        if state.is_queued && places::is_inside() {
            // From now on one computes.
            state.is_queued = false;
            return Some(Wakeup::Overtakes(state.baton.clone(), Payment::Free));
        }
        let is_due = now >= self.due(state);
        if !is_due && !state.drive.stands_still(now, LAGS * state.late) {
            return None;
        }
        let Some(payment) = self.pace.pay(now - state.begun) else {
            let free = state.begun + self.pace.free_after();
            state.not_before = (now + self.pace.patience()).min(free.max(now));
            return None;
        };
        if is_due {
            state.overtaken += 1;
        }
        // The new leader has the time that computing takes.
        state.not_before = now + self.pace.patience();
        Some(Wakeup::Overtakes(state.baton.clone(), payment))
    }

    /// Returns when the next waiter overtakes because of the time.
    fn due(&self, state: &Shared<B, L>) -> Instant {
        (state.begun + self.patience(state)).max(state.not_before)
    }

    fn patience(&self, state: &Shared<B, L>) -> Duration {
        self.pace.patience().saturating_mul(1 << state.overtaken.min(30))
    }

    /// Gives the leader more time, once as long again, if this process is so busy
    /// that it looks at the leader late: it drives the leader late as well.
    fn excuse(&self, state: &mut Shared<B, L>, at: Instant) {
        let now = Instant::now();
        let late = now.saturating_duration_since(at);
        state.late = state.late.max(late);
        if late > PROMPT {
            let most = state.begun + self.patience(state).saturating_mul(2);
            state.not_before = state.not_before.max((now + late).min(most));
        }
    }

    /// Returns when to look at the leader again: when a waiter may overtake it, and in
    /// between as often as its time makes sensible.
    fn look_again(&self, state: &Shared<B, L>, now: Instant) -> Instant {
        let is_doubtful = state.drive.is_late(now, PROMPT);
        let tick = if is_doubtful { PROMPT } else { ((now - state.begun) / 4).clamp(PROMPT, LONGEST_TICK) };
        let due = self.due(state);
        if due > now { due.min(now + tick) } else { now + PROMPT }
    }

    /// Wakes the waiters, outside the lock: a waker may run any code.
    fn wake_all(&self, mut state: MutexGuard<'_, Shared<B, L>>) {
        let wakers = std::mem::take(&mut state.wakers);
        self.changed.notify_all();
        drop(state);
        wake_all(wakers.into_values());
    }

    fn state(&self) -> MutexGuard<'_, Shared<B, L>> {
        lock(&self.state)
    }
}
