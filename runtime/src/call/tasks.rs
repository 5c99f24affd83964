//! The call of an async function, and a refresh that goes on without its caller.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use super::address::Far;
use super::background::Refresh;
use super::machine::Step;
use super::policy::Policy;
use super::shape::Shape;
use super::site::Site;
use super::typed::{Fallback, OldValue, Packed, Typed};
use crate::cache::global;
use crate::detached::{self, Resolute, Work};
use crate::singleflight::driving::{Driven, Drove};
use crate::singleflight::places::TakenPlace;
use crate::telemetry;
use crate::telemetry::call::{CallSpan, Due};
use crate::time::timer;

/// Carries out a call whose value is not kept near. It is in a box, and the body is
/// in another: the caller's future, and the frame of each poll, would have room
/// for both several times over.
#[inline(never)]
pub(super) fn carry<S, I, F>(
    (mut far, mut typed): (Box<Far>, Option<Box<Typed<S, I>>>),
    site: &'static Site,
    body: F,
    detach: Option<Detach<S, I, F>>,
) -> Pin<Box<impl Future<Output = S::Return>>>
where
    S: Shape,
    I: Policy<S>,
    F: Future<Output = S::Return>,
{
    let (body, within) = (Box::pin(body), far.span(site).clone());
    Box::pin(within.within(async move {
        let span = far.span(site);
        // Nothing that may be a return value is held while this waits.
        let mut refreshing = None;
        if let Some(typed) = &mut typed {
            match apart(typed.look_async(span)).await {
                Step::Return(returned) => return returned,
                Step::Refresh(value, due) => refreshing = Some((value, due)),
                Step::Compute | Step::Wait => {}
            }
        }
        let place = match &mut typed {
            Some(typed) => typed.machine.take_place(),
            None => apart(site.admit().wait_async(span)).await,
        };
        let mut fallback = Fallback::None;
        if let Some((value, due)) = refreshing {
            if let Some(detach) = detach
                && site.refreshes().are_possible()
                && let Some(typed) = typed.take()
            {
                return refresh_detached(site, typed, body, place, detach, (value, due), span).await;
            }
            span.renews(&due);
            fallback = Fallback::Value(value);
        }
        compute(typed, body, place, fallback, span).await
    }))
}

/// Polls a future in a frame of its own, which is gone when others are polled.
async fn apart<F: Future>(future: F) -> F::Output {
    #[inline(never)]
    fn poll<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        future.poll(context)
    }
    let mut future = pin!(future);
    poll_fn(|context| poll(future.as_mut(), context)).await
}

/// Refreshes an old value without its caller, which gets the old value at once or after
/// some patience. The future is in a box for the same reason as the call.
#[inline(never)]
fn refresh_detached<S, I, F>(
    site: &'static Site,
    mut typed: Box<Typed<S, I>>,
    body: Pin<Box<F>>,
    place: Option<TakenPlace>,
    Detach { work, leave, patience }: Detach<S, I, F>,
    (value, due): (S::Value, Due),
    span: &CallSpan,
) -> Pin<Box<impl Future<Output = S::Return> + use<S, I, F>>>
where
    S: Shape,
{
    let span = span.clone();
    Box::pin(async move {
        let Some(refresh) = site.refreshes().begin(site.telemetry(), typed.machine.cache.refreshes()) else {
            typed.machine.back_off();
            span.serves(&due);
            return S::join(value);
        };
        let parts = RefreshParts { typed, body, place, refresh, span: span.refresh() };
        let Some(patience) = patience.filter(|_| due.is_old()) else {
            span.serves(&due);
            leave(work(parts, Fallback::Served));
            return S::join(value);
        };
        let old = OldValue::new(value, span.clone(), due);
        let work = work(parts, Fallback::Old(old.clone()));
        let mut work = Resolute::new(work, leave);
        if let Some(returned) = timer::within(patience, &mut work).await {
            return returned;
        }
        if let Some(value) = old.take() {
            span.serves(&due);
            return S::join(value);
        }
        // The new value is there, and being stored.
        work.await
    })
}

/// A refresh that does not need its caller.
pub(super) struct RefreshParts<S: Shape, I, F> {
    typed: Box<Typed<S, I>>,
    body: Pin<Box<F>>,
    place: Option<TakenPlace>,
    refresh: Refresh,
    span: CallSpan,
}

pub(super) type MakeWork<S, I, F> =
    fn(RefreshParts<S, I, F>, Fallback<<S as Shape>::Value>) -> Work<'static, <S as Shape>::Return>;

/// How a refresh goes on without its caller.
pub(super) struct Detach<S: Shape, I, F> {
    /// Makes work of it that any task can do.
    pub(super) work: MakeWork<S, I, F>,
    /// Leaves that to the background.
    pub(super) leave: fn(Work<'static, S::Return>),
    /// How long its caller waits before, if it does.
    pub(super) patience: Option<Duration>,
}

pub(super) fn detached_work<S, I, F>(
    parts: RefreshParts<S, I, F>,
    fallback: Fallback<S::Value>,
) -> Work<'static, S::Return>
where
    S: Shape + 'static,
    S::Value: Send,
    I: Policy<S> + Send + 'static,
    F: Future<Output = S::Return> + Send + 'static,
{
    let RefreshParts { typed, body, place, refresh, span } = parts;
    Box::pin(global::carried(async move {
        let computing = compute(Some(typed), body, place, fallback, &span);
        let returned = span.within(computing).await;
        refresh.end();
        returned
    }))
}

/// Does work whose caller has gone or has an old value.
pub(super) fn run_on<T: 'static>(work: Work<'static, T>) {
    detached::run(async move { drop(work.await) });
}

async fn compute<S, I, F>(
    typed: Option<Box<Typed<S, I>>>,
    body: Pin<Box<F>>,
    place: Option<TakenPlace>,
    fallback: Fallback<S::Value>,
    span: &CallSpan,
) -> S::Return
where
    S: Shape,
    I: Policy<S>,
    F: Future<Output = S::Return>,
{
    let drove = computing(typed.as_deref(), body, place, span).await;
    let Some(typed) = typed else {
        span.computed(drove.began);
        return drove.output;
    };
    // From here on only the value is held while this waits: the rest of a
    // `Result` may be of a type that must stay on its thread.
    let (value, storing) = match settle(typed, drove, fallback, span) {
        Ok(finished) => finished,
        Err(returned) => return returned,
    };
    if let Some(storing) = storing {
        Resolute::new(storing, |work| detached::run(telemetry::within_current(work))).await;
    }
    S::join(value)
}

/// Runs the body. What is moved on the way there is in this frame, which is gone by then.
#[inline(never)]
fn computing<S, I, F>(
    typed: Option<&Typed<S, I>>,
    body: Pin<Box<F>>,
    place: Option<TakenPlace>,
    span: &CallSpan,
) -> impl Future<Output = Drove<S::Return>> + use<S, I, F>
where
    S: Shape,
    F: Future<Output = S::Return>,
{
    let drive = typed.map(|typed| typed.machine.drive());
    let computations = typed.and_then(|typed| typed.machine.computation()).into_iter().collect();
    span.compute_async(None, Driven::new(body, computations, drive, span.observation()).within(place))
}

/// A value, and what stores it where that takes time.
type Finished<V> = (V, Option<Work<'static, ()>>);

/// Ends the call. The error is a return value without a value, whose caller does not wait
/// for the storing. This is a function of its own, so that the frame in which the machine
/// moves is gone when the caller waits.
#[inline(never)]
#[expect(clippy::boxed_local, reason = "unboxed, it would be in the caller's frame")]
fn settle<S: Shape, I: Policy<S>>(
    mut typed: Box<Typed<S, I>>,
    Drove { output, began, driven }: Drove<S::Return>,
    fallback: Fallback<S::Value>,
    span: &CallSpan,
) -> Result<Finished<S::Value>, S::Return> {
    typed.machine.computed(driven);
    let cost = span.computed(began);
    let (fallback, told) = fallback.decided(cost);
    let Packed { returned, packing } = typed.pack(output, fallback, cost, told.as_ref().unwrap_or(span));
    let returned = match returned {
        Ok(value) => return Ok((value, typed.machine.settle_later(packing, span))),
        Err(returned) => returned,
    };
    if !detached::is_possible() {
        detached::hand_over(|| typed.machine.settle(packing, span));
    } else if let Some(storing) = typed.machine.settle_later(packing, span) {
        detached::run(telemetry::within_current(storing));
    }
    Err(returned)
}
