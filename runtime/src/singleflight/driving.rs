//! Polls a computation, and notes in its [`Drive`] when it is woken and polled.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::time::{Duration, Instant};

use super::deadlock::Computation;
use super::drive::Drive;
use super::places::{self, TakenPlace};
use crate::sync::lock;
use crate::telemetry::observing::Observation;

/// Notes when the computation is woken, and wakes its task.
struct Watching {
    drive: Arc<Drive>,
    task: Mutex<Option<Waker>>,
}

impl Wake for Watching {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.drive.woken();
        // Not under the lock, since a waker is other people's code.
        let task = lock(&self.task).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl Watching {
    /// Notes that the task with this waker polls now.
    fn polled_by(&self, waker: &Waker) {
        self.drive.polled();
        let mut task = lock(&self.task);
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }
}

/// What became of a body.
pub(crate) struct Drove<T> {
    pub(crate) output: T,
    pub(crate) began: Instant,
    /// How long it was driven, if that tells how long computing takes.
    pub(crate) driven: Option<Duration>,
}

/// A body under way. It is no async function, whose frames a recursion would pay for.
pub(crate) struct Driven<F> {
    work: Pin<Box<F>>,
    computations: Box<[Computation]>,
    watching: Option<(Arc<Watching>, Waker)>,
    /// When it began, and how long its drive had stood still by then.
    started: Option<(Instant, Duration)>,
    observation: Option<Observation>,
    place: Option<TakenPlace>,
}

impl<F> Driven<F> {
    /// Drives `work` within these computations. `drive` notes its polls, and its calls
    /// are recorded below that of the observation.
    pub(crate) fn new(
        work: Pin<Box<F>>,
        computations: Box<[Computation]>,
        drive: Option<Arc<Drive>>,
        observation: Option<Observation>,
    ) -> Self {
        let watching = drive.map(|drive| {
            let watching = Arc::new(Watching { drive, task: Mutex::new(None) });
            let waker = Waker::from(Arc::clone(&watching));
            (watching, waker)
        });
        Driven { work, computations, watching, started: None, observation, place: None }
    }

    /// Keeps this place until the body has ended.
    pub(crate) fn within(self, place: Option<TakenPlace>) -> Self {
        Driven { place, ..self }
    }
}

impl<F: Future> Future for Driven<F> {
    type Output = Drove<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Driven { work, computations, watching, started, observation, place } = &mut *self;
        let stood_still = watching.as_ref().map_or(Duration::ZERO, |(watching, _)| watching.drive.stood_still());
        let (began, before) = *started.get_or_insert_with(|| (Instant::now(), stood_still));
        let _inside = place.as_ref().map(TakenPlace::enter);
        let _entered = Computation::enter_all(computations);
        let _calls = observation.as_ref().map(Observation::enter);
        let Some((watching, waker)) = watching else {
            let output = ready!(work.as_mut().poll(context));
            let driven = places::told_by(place.take(), began.elapsed());
            return Poll::Ready(Drove { output, began, driven });
        };
        watching.polled_by(context.waker());
        let output = ready!(work.as_mut().poll(&mut Context::from_waker(waker)));
        watching.drive.completed();
        let stood_still = watching.drive.stood_still().saturating_sub(before);
        let driven = places::told_by(place.take(), began.elapsed().saturating_sub(stood_still));
        Poll::Ready(Drove { output, began, driven })
    }
}
