//! The calls for the elements of a batch, made together.
//!
//! Each is decided by its own machine. What they ask goes out in one exchange per
//! node. No lease is held while a call waits for another caller: see
//! [`Calls::wait`].

#[cfg(feature = "tokio")]
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::call::machine::batch::{self, Ended, Settlement};
use crate::call::machine::groups::Answered;
use crate::call::machine::idle::{self, Pushed};
use crate::call::machine::wait::pause;
use crate::call::machine::{Event, Machine, Step};
use crate::call::policy::Policy;
use crate::call::shape::Shape;
use crate::call::typed::{Fallback, Packed, Typed};
use crate::error::Error;
#[cfg(feature = "tokio")]
use crate::singleflight::drive::Drive;
use crate::singleflight::lease::{Io, Lease};
use crate::singleflight::{Computation, Waited, Waiter};
use crate::telemetry::call::{CallSpan, Due};
use crate::time::budget::Budget;
#[cfg(feature = "tokio")]
use crate::time::timer;

/// The calls of one batch.
pub(super) struct Calls<S: Shape, I> {
    all: Vec<Call<S, I>>,
    pub(super) span: CallSpan,
    pub(super) computation: Computation,
    /// Absent where nothing is cached.
    around: Option<(Cache, Budget)>,
    /// The values whose ends are pushed forward.
    pushed: Vec<Pushed>,
    on_error: OnFailure,
    /// Whether the store's answers came last, and not the end of a flight.
    is_answered: bool,
}

/// One call.
struct Call<S: Shape, I> {
    /// What is around its body, as long as its value may be stored.
    typed: Option<Box<Typed<S, I>>>,
    state: CallState<S>,
    /// Whether the caller has got an old value, which is computed anew.
    served: bool,
}

/// How far a call is.
enum CallState<S: Shape> {
    /// Its value is being looked for, or computed by another caller.
    Sought,
    /// It computes.
    Missing,
    /// It computes in place of this value.
    Due(S::Value, Due),
    /// It returns this.
    Returns(S::Return),
    Over,
}

/// What a call does when the cache fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum OnFailure {
    Compute,
    Return,
}

/// What the calls wait for next.
enum NextWait {
    /// For nothing: they are all over, or some compute.
    Nothing,
    /// The store's answers.
    Answers,
    /// For this long.
    Pause(Duration),
    /// For a flight, for the call with this number.
    Join(usize, Waiter<Lease>),
}

impl<S: Shape, I: Policy<S>> Calls<S, I> {
    pub(super) fn new(span: CallSpan, on_error: OnFailure) -> Self {
        let (computation, pushed) = (Computation::new(), Vec::new());
        Calls { all: Vec::new(), span, computation, around: None, pushed, on_error, is_answered: false }
    }

    /// Adds a call.
    pub(super) fn push(&mut self, typed: Option<Box<Typed<S, I>>>) {
        let mut call = Call { typed, state: CallState::Missing, served: false };
        match &mut call.typed {
            Some(typed) => {
                typed.machine.shares(self.computation);
                self.around.get_or_insert_with(|| (typed.machine.cache.clone(), typed.machine.cache.budget()));
                call.state = CallState::Sought;
            }
            None => self.span.bypassed(),
        }
        self.all.push(call);
    }

    /// Adds a call whose value is at hand, which took so long to compute.
    pub(super) fn push_found(&mut self, returned: S::Return, cost: u64) {
        self.span.near_hit(cost);
        self.all.push(Call { typed: None, state: CallState::Returns(returned), served: false });
    }

    /// Returns the calls that compute.
    pub(super) fn computing(&self) -> Vec<usize> {
        self.which(|state| matches!(state, CallState::Missing | CallState::Due(..)))
    }

    /// Returns those of them that have no old value.
    pub(super) fn missing(&self) -> Vec<usize> {
        self.which(|state| matches!(state, CallState::Missing))
    }

    /// Whether all of these have old values.
    pub(super) fn are_old(&self, computing: &[usize]) -> bool {
        computing.iter().all(|index| matches!(self.all[*index].state, CallState::Due(..)))
    }

    fn which(&self, is_one: impl Fn(&CallState<S>) -> bool) -> Vec<usize> {
        (0..self.all.len()).filter(|index| is_one(&self.all[*index].state)).collect()
    }

    /// Whether values are still looked for, or computed by others.
    pub(super) fn are_sought(&self) -> bool {
        self.sought().next().is_some()
    }

    fn begin(&mut self, io: Io) {
        for call in &mut self.all {
            if let (Some(typed), CallState::Sought) = (&mut call.typed, &call.state) {
                typed.machine.begin(io, &self.span);
            }
        }
    }

    /// Looks for all values, blocking, as far as that takes no waiting for others.
    ///
    /// # Errors
    ///
    /// If the cache fails, and the caller is told so.
    pub(super) fn look(&mut self) -> Result<(), Error> {
        self.begin(Io::Blocking);
        while self.asks() {
            self.ask()?;
        }
        Ok(())
    }

    /// Waits for values that other callers compute, blocking, until all are there or
    /// this batch is to compute: with the first lease that it wins, the waiting is
    /// over for all of its calls.
    ///
    /// It waits for flights of this process only while it leads none itself: then no
    /// two batches wait for each other.
    ///
    /// # Errors
    ///
    /// If the cache fails, and the caller is told so.
    pub(super) fn wait(&mut self) -> Result<(), Error> {
        loop {
            match self.next_wait() {
                NextWait::Nothing => return Ok(()),
                NextWait::Answers => self.ask()?,
                NextWait::Pause(time) => {
                    pause(time);
                    self.paused(time);
                }
                NextWait::Join(index, waiter) => {
                    self.span.follows(waiter.leader());
                    let wait = self.span.wait();
                    let waited = {
                        let _wait = wait.enter();
                        waiter.wait()
                    };
                    self.joined(index, waited)?;
                }
            }
        }
    }

    fn ask(&mut self) -> Result<(), Error> {
        self.note_since();
        let Some((_, budget)) = &self.around else { return Ok(()) };
        let polls = self.polls();
        let answers = batch::ask(&self.asking(), polls.as_ref().unwrap_or(budget));
        self.answered(answers)
    }

    /// Looks as [`Calls::look`] does, yielding to the runtime.
    #[cfg(feature = "tokio")]
    pub(super) async fn look_async(&mut self) -> Result<(), Error> {
        self.begin(Io::Async);
        while self.asks() {
            self.ask_async().await?;
        }
        Ok(())
    }

    /// Waits as [`Calls::wait`] does, yielding to the runtime.
    #[cfg(feature = "tokio")]
    pub(super) async fn wait_async(&mut self) -> Result<(), Error> {
        loop {
            match self.next_wait() {
                NextWait::Nothing => return Ok(()),
                NextWait::Answers => self.ask_async().await?,
                NextWait::Pause(time) => {
                    timer::sleep(time).await;
                    self.paused(time);
                }
                NextWait::Join(index, waiter) => {
                    self.span.follows(waiter.leader());
                    let waited = self.span.wait().within(waiter.wait_async()).await;
                    self.joined(index, waited)?;
                }
            }
        }
    }

    #[cfg(feature = "tokio")]
    async fn ask_async(&mut self) -> Result<(), Error> {
        self.note_since();
        let Some((_, budget)) = &self.around else { return Ok(()) };
        let polls = self.polls();
        let answers = batch::ask_async(&self.asking(), polls.as_ref().unwrap_or(budget)).await;
        self.answered(answers)
    }

    fn note_since(&mut self) {
        self.all.iter_mut().filter_map(Call::seeker).filter(|machine| machine.asks()).for_each(Machine::note_since);
    }

    fn sought(&self) -> impl Iterator<Item = &Machine> {
        self.all.iter().filter(|call| matches!(call.state, CallState::Sought)).filter_map(Call::machine)
    }

    fn asking(&self) -> Vec<&Machine> {
        self.sought().filter(|machine| machine.asks()).collect()
    }

    fn asks(&self) -> bool {
        self.sought().any(Machine::asks)
    }

    /// Returns the limits of asking about other processes again and again.
    fn polls(&self) -> Option<Budget> {
        let (cache, _) = self.around.as_ref()?;
        self.sought().any(Machine::waits_for_another).then(|| cache.budget().of_polls())
    }

    fn next_wait(&mut self) -> NextWait {
        if !self.computing().is_empty() {
            return NextWait::Nothing;
        }
        if self.asks() {
            return NextWait::Answers;
        }
        if let Some(pause) = self.sought().filter_map(Machine::pause_left).min() {
            return NextWait::Pause(pause);
        }
        let waits = self.all.iter_mut().enumerate().find_map(|(index, call)| Some((index, call.waiter()?)));
        waits.map_or(NextWait::Nothing, |(index, waiter)| NextWait::Join(index, waiter))
    }

    fn paused(&mut self, pause: Duration) {
        self.all.iter_mut().filter_map(Call::machine_mut).for_each(|machine| machine.paused(pause));
    }

    /// Whether all that can be computed by now is known to. The end of a flight tells of
    /// one call only.
    pub(super) fn is_told_of_all(&self) -> bool {
        self.is_answered
    }

    /// Takes in the answers to what was asked.
    fn answered(&mut self, answers: Vec<Answered>) -> Result<(), Error> {
        self.is_answered = true;
        let (mut answers, mut done) = (answers.into_iter(), Ok(()));
        for index in 0..self.all.len() {
            let Some(machine) = self.all[index].seeker().filter(|machine| machine.asks()) else { continue };
            let Some(answer) = answers.next() else { break };
            // After an error, too: what the others have won is given back.
            if let Some(event) = machine.event(answer) {
                done = done.and(self.judge(index, event));
            }
        }
        self.push_ends();
        done?;
        // One for all: what the batch has paid for, it does for each of its calls.
        if self.sought().any(Machine::takes_over) {
            self.all.iter_mut().filter_map(Call::seeker).for_each(Machine::takes_over_too);
        }
        Ok(())
    }

    /// Pushes the ends of values forward that were found.
    fn push_ends(&mut self) {
        let pushed = std::mem::take(&mut self.pushed);
        if let (false, Some((cache, _))) = (pushed.is_empty(), &self.around) {
            idle::write(pushed, cache);
        }
    }

    fn joined(&mut self, index: usize, waited: Waited<Lease>) -> Result<(), Error> {
        self.is_answered = false;
        self.judge(index, Event::Waited(waited))
    }

    fn judge(&mut self, index: usize, event: Event) -> Result<(), Error> {
        let Calls { all, span, on_error, pushed, .. } = self;
        let Some(typed) = &mut all[index].typed else { return Ok(()) };
        let step = match typed.open_and_judge(event, span) {
            Err(error) if *on_error == OnFailure::Return => return Err(error),
            Err(_) => typed.open_and_judge(Event::GoOn, span).unwrap_or(Step::Compute),
            Ok(step) => step,
        };
        pushed.extend(typed.pushed());
        all[index].state = match step {
            Step::Return(returned) => {
                all[index].typed = None;
                CallState::Returns(returned)
            }
            Step::Refresh(value, due) => CallState::Due(value, due),
            Step::Compute => CallState::Missing,
            Step::Wait => CallState::Sought,
        };
        Ok(())
    }

    /// Waits for others no longer.
    pub(super) fn give_up_waiting(&mut self) {
        for call in &mut self.all {
            if let Some(machine) = call.seeker() {
                machine.give_up_waiting(&self.span);
                call.state = CallState::Missing;
            }
        }
    }

    /// Notes that a body computes for these calls, some in place of old values.
    pub(super) fn compute(&mut self, computing: &[usize]) {
        for index in computing {
            if let CallState::Due(_, due) = &self.all[*index].state {
                self.span.renews(due);
            }
        }
    }

    /// Returns old values to the caller, before they are computed anew.
    pub(super) fn serve(&mut self) {
        for call in &mut self.all {
            call.state = match std::mem::replace(&mut call.state, CallState::Over) {
                CallState::Due(value, due) => {
                    self.span.serves(&due);
                    call.served = true;
                    CallState::Returns(S::join(value))
                }
                state => state,
            };
        }
    }

    /// Notes whether the body for these calls waits for a place.
    pub(super) fn queue(&self, computing: &[usize], is_queued: bool) {
        let machines = computing.iter().filter_map(|index| self.all[*index].machine());
        machines.for_each(|machine| machine.queues(is_queued));
    }

    /// Returns the computations that the body for these calls is: its own, and those of the
    /// callers that it took over from or overtook.
    pub(super) fn computations(&self, computing: &[usize]) -> Box<[Computation]> {
        let mut all = vec![self.computation];
        let led = computing.iter().filter_map(|index| self.all[*index].machine()?.computation());
        led.for_each(|computation| {
            if !all.contains(&computation) {
                all.push(computation);
            }
        });
        all.into()
    }

    /// Notes the polls of the body that computes for these calls.
    #[cfg(feature = "tokio")]
    pub(super) fn driven(&mut self, computing: &[usize]) -> Arc<Drive> {
        let drive = Arc::new(Drive::new());
        for index in computing {
            if let Some(machine) = self.all[*index].machine_mut() {
                machine.driven_by(&drive);
            }
        }
        drive
    }

    /// Takes in what the body has returned for these calls, which took so long.
    pub(super) fn computed(
        &mut self,
        computing: &[usize],
        returned: Vec<S::Return>,
        cost: u64,
        mut driven: Option<Duration>,
    ) -> Option<Settlement> {
        let share = cost / u64::try_from(computing.len()).unwrap_or(u64::MAX).max(1);
        let mut ended = Vec::new();
        // What decides about one value may ask for another.
        let _computes = Computation::enter_all(&self.computations(computing));
        for (index, returned) in computing.iter().zip(returned) {
            let call = &mut self.all[*index];
            let fallback = match std::mem::replace(&mut call.state, CallState::Over) {
                CallState::Due(value, _) => Fallback::Value(value),
                _ if call.served => Fallback::Served,
                _ => Fallback::None,
            };
            let Some(mut typed) = call.typed.take() else {
                call.state = CallState::Returns(returned);
                continue;
            };
            typed.machine.computed(driven.take());
            let Packed { returned, packing } = typed.pack(returned, fallback, share, &self.span);
            call.state = CallState::Returns(returned.map_or_else(|returned| returned, S::join));
            ended.push(Ended { machine: typed.machine, packing });
        }
        self.settlement(ended)
    }

    /// Serves the old values of these calls, whose body has failed; `None` if some
    /// have none.
    pub(super) fn serve_old(&mut self, computing: &[usize]) -> Option<Option<Settlement>> {
        let has_old = |call: &Call<S, I>| call.served || matches!(call.state, CallState::Due(..));
        if !computing.iter().all(|index| has_old(&self.all[*index])) {
            return None;
        }
        for index in computing {
            let call = &mut self.all[*index];
            if let CallState::Due(value, _) = std::mem::replace(&mut call.state, CallState::Over) {
                call.state = CallState::Returns(S::join(value));
                self.span.stale_on_error();
            }
        }
        if self.all.iter().any(|call| call.served) {
            self.span.refresh_failed();
        }
        Some(self.back_off(computing))
    }

    /// Ends these calls, which have served old values. For some seconds no other caller
    /// computes those anew.
    pub(super) fn back_off(&mut self, computing: &[usize]) -> Option<Settlement> {
        let mut ended = Vec::new();
        for index in computing {
            if let Some(mut typed) = self.all[*index].typed.take() {
                typed.machine.back_off();
                ended.push(Ended { machine: typed.machine, packing: None });
            }
        }
        self.settlement(ended)
    }

    /// Returns how many values may be refreshed in the background at once.
    #[cfg(feature = "tokio")]
    pub(super) fn refreshes(&self) -> usize {
        self.around.as_ref().map_or(usize::MAX, |(cache, _)| cache.refreshes())
    }

    /// Ends all calls without storing anything. The leases are given back.
    pub(super) fn end(&mut self) -> Option<Settlement> {
        self.span.tallied();
        let mut ended = Vec::new();
        for call in &mut self.all {
            // A call that waits leaves its place to another caller that waits.
            if let (Some(typed), false) = (call.typed.take(), matches!(call.state, CallState::Sought)) {
                ended.push(Ended { machine: typed.machine, packing: None });
            }
            call.state = CallState::Over;
        }
        self.settlement(ended)
    }

    fn settlement(&self, ended: Vec<Ended>) -> Option<Settlement> {
        let (cache, budget) = self.around.as_ref()?;
        let settlement = Settlement::of(ended, cache.clone(), budget.lend(), self.span.clone());
        (!settlement.is_done()).then_some(settlement)
    }

    /// Returns what each call returns.
    pub(super) fn returned(&mut self) -> Vec<S::Return> {
        let returned = |call: &mut Call<S, I>| match std::mem::replace(&mut call.state, CallState::Over) {
            CallState::Returns(returned) => Some(returned),
            _ => None,
        };
        self.all.iter_mut().filter_map(returned).collect()
    }
}

impl<S: Shape, I> Call<S, I> {
    fn machine(&self) -> Option<&Machine> {
        self.typed.as_ref().map(|typed| &typed.machine)
    }

    fn machine_mut(&mut self) -> Option<&mut Machine> {
        self.typed.as_mut().map(|typed| &mut typed.machine)
    }

    /// Returns the machine, while the value is sought.
    fn seeker(&mut self) -> Option<&mut Machine> {
        if matches!(self.state, CallState::Sought) { self.machine_mut() } else { None }
    }

    fn waiter(&mut self) -> Option<Waiter<Lease>> {
        self.seeker()?.waiter()
    }
}

/// Leaves the calls that have not ended, as those of a future that is dropped.
impl<S: Shape, I> Drop for Calls<S, I> {
    fn drop(&mut self) {
        let left = self.all.iter_mut().filter_map(|call| Some(call.typed.take()?.machine));
        let left: Vec<Machine> = left.collect();
        let Some((cache, _)) = self.around.take().filter(|_| !left.is_empty()) else { return };
        let settlement = Settlement::leaving(&left, cache, self.span.clone());
        drop(left);
        settlement.leave();
    }
}
