//! The call of an async function, and a refresh that goes on without its caller.

use std::pin::Pin;
use std::time::Duration;

use super::address::Far;
use super::background::Refresh;
use super::machine::{Packing, Step};
use super::policy::Policy;
use super::shape::Shape;
use super::site::Site;
use super::typed::{Fallback, OldValue, Packed, Typed};
use crate::cache::global;
use crate::detached::{self, Resolute, Work};
use crate::singleflight::driving::Driven;
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
    let body = Box::pin(body);
    Box::pin(async move {
        let span = far.span(site);
        let call = async {
            // Nothing that may be a return value is held while this waits.
            let mut refreshing = None;
            if let Some(typed) = &mut typed {
                match typed.look_async(span).await {
                    Step::Return(returned) => return returned,
                    Step::Refresh(value, due) => refreshing = Some((value, due)),
                    Step::Compute | Step::Wait => {}
                }
            }
            let place = match &mut typed {
                Some(typed) => typed.machine.take_place(),
                None => site.admit().wait_async(span).await,
            };
            let mut fallback = Fallback::None;
            if let Some((value, due)) = refreshing {
                if let Some(detach) = detach
                    && site.refreshes().are_possible()
                    && let Some(typed) = typed.take()
                {
                    return refresh_detached(site, typed, body, place, detach, (value, due), span.clone()).await;
                }
                span.renews(&due);
                fallback = Fallback::Value(value);
            }
            compute(typed, body, place, fallback, span).await
        };
        span.within(call).await
    })
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
    span: CallSpan,
) -> Pin<Box<impl Future<Output = S::Return>>>
where
    S: Shape,
{
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
    let drive = typed.as_ref().map(|typed| typed.machine.drive());
    let computation = typed.as_ref().and_then(|typed| typed.machine.computation());
    let work = Driven::new(body, computation, drive, span.observation()).within(place);
    let ((returned, driven), cost) = span.compute_async(None, work).await;
    let Some(mut typed) = typed else { return returned };
    typed.machine.computed(driven);
    let (fallback, told) = fallback.decided(cost);
    let told = told.as_ref().unwrap_or(span);
    // From here on only the value is held while this waits: the rest of a
    // `Result` may be of a type that must stay on its thread.
    let (value, packing) = match typed.pack(returned, fallback, cost, told) {
        Packed { returned: Ok(value), packing } => (value, packing),
        Packed { returned: Err(returned), packing } => {
            if !detached::is_possible() {
                let mut typed = typed;
                detached::hand_over(|| typed.machine.settle(packing, span));
            } else if let Some(storing) = settle_later(typed, packing, span) {
                detached::run(telemetry::within_current(storing));
            }
            return returned;
        }
    };
    if let Some(storing) = settle_later(typed, packing, span) {
        Resolute::new(storing, |work| detached::run(telemetry::within_current(work))).await;
    }
    S::join(value)
}

/// Ends the call. It is a function of its own, so that the frame in which the
/// machine moves is gone when the caller waits.
#[inline(never)]
#[expect(clippy::boxed_local, reason = "unboxed, it would be in the caller's frame")]
fn settle_later<S: Shape, I>(
    typed: Box<Typed<S, I>>,
    packing: Option<Packing>,
    span: &CallSpan,
) -> Option<Work<'static, ()>> {
    typed.machine.settle_later(packing, span)
}
