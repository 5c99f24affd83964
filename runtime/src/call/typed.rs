//! The typed part of a call: what is found of its value, and what is stored.
//!
//! It knows the value's type and leaves every decision to the [`Machine`],
//! which does not and so is compiled once.

#[cfg(feature = "tokio")]
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::freshness::OwnTimes;
use super::machine::idle::{self, Pushed};
use super::machine::{Event, Machine, Packing, Readable, Replaced, ReturnKind, Step};
use super::negative::Negative;
use super::policy::{Policy, kept_for};
use super::previous::PreviousSlot;
use super::shape::{Shape, Split};
use super::sharing::Sharer;
use crate::cache::near::NearCopy;
use crate::error::Error;
use crate::singleflight::Computation;
use crate::singleflight::lease::Io;
#[cfg(feature = "tokio")]
use crate::sync::lock;
use crate::telemetry::call::CallSpan;
#[cfg(feature = "tokio")]
use crate::telemetry::call::Due;
use crate::value::envelope::Refusal;
use crate::value::record::{Form, Found};

/// A call that has a cache and a key: everything around its body.
pub(super) struct Typed<S: Shape, I> {
    pub(super) form: Form<S::Value>,
    pub(super) negatives: Vec<Negative<S>>,
    pub(super) policy: I,
    /// Where the body gets the value that it replaces, if it wants that.
    pub(super) previous: Option<PreviousSlot<S::Value>>,
    pub(super) on_error: fn(Error) -> Option<S::Return>,
    pub(super) machine: Machine,
    /// How near hits share a value, if they do.
    pub(super) sharer: Option<Sharer<S::Value>>,
}

/// What a call does next, with the values it does it with.
pub(super) type Next<S> = Step<<S as Shape>::Return, <S as Shape>::Value>;

/// What the caller gets in place of a new value, should computing come to
/// nothing.
pub(super) enum Fallback<V> {
    None,
    Value(V),
    /// The caller has it already.
    Served,
    /// The caller takes this if it runs out of patience.
    #[cfg(feature = "tokio")]
    Old(OldValue<V>),
}

#[cfg(feature = "tokio")]
impl<V> Fallback<V> {
    /// Decides what the old value is to a computation that ends now after so many
    /// nanoseconds, and whose span is told of that, if it is not the computation's.
    #[inline(never)]
    pub(super) fn decided(self, cost: u64) -> (Self, Option<CallSpan>) {
        match self {
            Fallback::Old(old) => match old.take() {
                Some(value) => {
                    let Waiting { caller, due, .. } = &*old.0;
                    caller.waited_for_refresh(due, cost);
                    (Fallback::Value(value), Some(caller.clone()))
                }
                None => (Fallback::Served, None),
            },
            fallback => (fallback, None),
        }
    }
}

/// An old value that goes to the first to take it: the caller that waits for a new one,
/// or the computation.
#[cfg(feature = "tokio")]
pub(super) struct OldValue<V>(Arc<Waiting<V>>);

/// A caller that waits for a new value.
#[cfg(feature = "tokio")]
struct Waiting<V> {
    old: Mutex<Option<V>>,
    /// Its span, which is told how the computation ended if that is in time.
    caller: CallSpan,
    due: Due,
}

#[cfg(feature = "tokio")]
impl<V> OldValue<V> {
    pub(super) fn new(value: V, caller: CallSpan, due: Due) -> Self {
        OldValue(Arc::new(Waiting { old: Mutex::new(Some(value)), caller, due }))
    }

    pub(super) fn take(&self) -> Option<V> {
        lock(&self.0.old).take()
    }
}

#[cfg(feature = "tokio")]
impl<V> Clone for OldValue<V> {
    fn clone(&self) -> Self {
        OldValue(Arc::clone(&self.0))
    }
}

/// The body's return value, taken apart, and what is stored of it.
pub(super) struct Packed<S: Shape> {
    /// The value, which is returned once it is stored; or a return value without
    /// one, which is returned at once.
    pub(super) returned: Result<S::Value, S::Return>,
    pub(super) packing: Option<Packing>,
}

impl<S: Shape, I: Policy<S>> Typed<S, I> {
    /// Looks for the value, blocking, and returns what the call returns if that is clear.
    /// Its frame is gone when the body runs, as are those of what is not inlined below.
    #[inline(never)]
    pub(super) fn found(&mut self, fallback: &mut Fallback<S::Value>, span: &CallSpan) -> Option<S::Return> {
        self.machine.begin(Io::Blocking, span);
        loop {
            let event = self.machine.wait(span);
            match self.judge(event, span) {
                Step::Wait => {}
                Step::Return(returned) => return Some(returned),
                Step::Refresh(value, due) => {
                    span.renews(&due);
                    *fallback = Fallback::Value(value);
                    return None;
                }
                Step::Compute => return None,
            }
        }
    }

    /// Stores what the body has returned, as far as that is to be, and returns it.
    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "unboxed, it would be in the caller's frame")]
    pub(super) fn settled(
        mut self: Box<Self>,
        returned: S::Return,
        fallback: Fallback<S::Value>,
        (cost, driven): (u64, Option<Duration>),
        span: &CallSpan,
    ) -> S::Return {
        self.machine.computed(driven);
        let Packed { returned, packing } = self.pack(returned, fallback, cost, span);
        self.machine.settle(packing, span);
        match returned {
            Ok(value) => S::join(value),
            Err(returned) => returned,
        }
    }

    /// Looks for the value, yielding to the runtime.
    #[cfg(feature = "tokio")]
    pub(super) async fn look_async(&mut self, span: &CallSpan) -> Next<S> {
        self.machine.begin(Io::Async, span);
        loop {
            let event = self.machine.wait_async(span).await;
            match self.judge(event, span) {
                Step::Wait => {}
                next => return next,
            }
        }
    }

    /// Decides what follows from `event`. From then on the machine knows what
    /// this call may store.
    fn judge(&mut self, event: Event, span: &CallSpan) -> Next<S> {
        match self.open_and_judge(event, span) {
            Ok(next) => {
                if let Some(pushed) = self.pushed() {
                    idle::write(vec![pushed], &self.machine.cache);
                }
                if let Step::Refresh(..) | Step::Compute = next {
                    self.hand_over();
                }
                next
            }
            Err(error) => match (self.on_error)(error) {
                Some(answer) => {
                    span.propagated();
                    Step::Return(answer)
                }
                None => self.open_and_judge(Event::GoOn, span).unwrap_or(Step::Compute),
            },
        }
    }

    pub(super) fn open_and_judge(&mut self, event: Event, span: &CallSpan) -> Result<Next<S>, Error> {
        let mut found = None;
        let Typed { form, negatives, machine, .. } = self;
        let open = &mut |bytes: &[u8], flags| {
            let (opened, returned) = unpack(form, negatives, bytes, flags)?;
            found = Some(returned);
            Ok(opened)
        };
        Ok(match (machine.judge(event, open, span)?, found) {
            (Step::Return(()), Some(Ok(value))) => Step::Return(S::join(value)),
            (Step::Return(()), Some(Err(returned))) => Step::Return(returned),
            (Step::Refresh((), due), Some(Ok(value))) => Step::Refresh(value, due),
            (Step::Wait, _) => Step::Wait,
            (Step::Compute, _)
            | (Step::Return(()) | Step::Refresh((), _), None)
            | (Step::Refresh((), _), Some(Err(_))) => Step::Compute,
        })
    }

    /// Hands the value that is replaced over to the body, if it wants that.
    fn hand_over(&self) {
        let Typed { form, previous: Some(slot), machine, .. } = self else { return };
        let Some(Replaced { record, age }) = &machine.replaced else { return };
        if let Ok(Found { value, tag, .. }) = form.unpack(&record.bytes, record.flags) {
            slot.put(value, *age, tag);
        }
    }

    /// Returns the value whose end the call pushes forward, if it does.
    pub(super) fn pushed(&mut self) -> Option<Pushed> {
        let Typed { form, machine, .. } = self;
        machine.pushed(|push| form.renewed(&push.found, push.times, None).ok())
    }

    /// Returns the return value that this process keeps, with what it took to compute.
    pub(super) fn near(&self, copy: &NearCopy) -> Option<(S::Return, u64)> {
        if let Some((value, cost)) = self.sharer.as_ref().and_then(|sharer| sharer.find(copy)) {
            return Some((S::join(value), cost));
        }
        let record = copy.record();
        let (Readable { cost, .. }, unpacked) =
            unpack(&self.form, &self.negatives, &record.bytes, record.flags).ok()?;
        let returned = match (unpacked, &self.sharer) {
            (Ok(value), Some(sharer)) => S::join(sharer.keep(copy, &value, cost).unwrap_or(value)),
            (Ok(value), None) => S::join(value),
            (Err(returned), _) => returned,
        };
        Some((returned, cost))
    }

    /// Decides what to store of what the body has returned, and what to return:
    /// `fallback` takes the place of an error.
    #[inline(never)]
    pub(super) fn pack(
        &mut self,
        returned: S::Return,
        fallback: Fallback<S::Value>,
        cost: u64,
        span: &CallSpan,
    ) -> Packed<S> {
        let Typed { form, negatives, policy, previous, machine, .. } = self;
        // What decides about a value may ask for it, as the body may.
        let _computes = machine.computation().map(Computation::enter);
        let split = match S::split(returned) {
            // An error that an old value may not hide ends that, as no value does.
            Split::Failed(failed) if !matches!(fallback, Fallback::None) && !policy.excuses(&failed) => {
                Split::Empty(failed)
            }
            split => split,
        };
        match (split, fallback) {
            (Split::Value(value), fallback) => {
                if let Fallback::Value(_) = fallback {
                    span.renewed();
                }
                let (previous, replaced) = (previous.as_ref(), machine.replaced.take());
                let pack = |times| {
                    let Some(slot) = previous else { return form.pack(&value, times, b"") };
                    let tag = slot.tag();
                    if let (true, Some(Replaced { record, .. })) = (slot.is_unchanged(), &replaced) {
                        if form.is_like(&value, record) {
                            return form.renewed(record, times, tag.as_deref());
                        }
                        span.not_unchanged();
                    }
                    form.pack(&value, times, tag.as_deref().unwrap_or_default())
                };
                let packing = machine.pack(
                    &|| policy.allows(&value),
                    &|| policy.times(&value),
                    &pack,
                    ReturnKind::Value,
                    cost,
                    span,
                );
                Packed { returned: Ok(value), packing }
            }
            (Split::Failed(_), Fallback::Value(value)) => {
                span.stale_on_error();
                machine.back_off();
                Packed { returned: Ok(value), packing: None }
            }
            (Split::Failed(returned), Fallback::Served) => {
                span.refresh_failed();
                machine.back_off();
                Packed { returned: Err(returned), packing: None }
            }
            (Split::Failed(returned), _) => {
                let packing = pack_negative(form, negatives, machine, &returned, cost, span);
                Packed { returned: Err(returned), packing }
            }
            (Split::Empty(returned), fallback) => {
                let packing = pack_negative(form, negatives, machine, &returned, cost, span);
                if let Fallback::Value(_) = fallback {
                    span.renewed();
                }
                // A value that is stored is no longer right.
                if packing.is_none() {
                    machine.renounce();
                }
                Packed { returned: Err(returned), packing }
            }
        }
    }
}

/// Decides what to store of a return value without a value.
fn pack_negative<S: Shape>(
    form: &Form<S::Value>,
    negatives: &[Negative<S>],
    machine: &mut Machine,
    returned: &S::Return,
    cost: u64,
    span: &CallSpan,
) -> Option<Packing> {
    let kind = negatives.iter().find(|kind| kind.is(returned))?;
    let own = || OwnTimes { ttl: Some(kept_for(kind.ttl(returned))), grace: None };
    let pack = |times| kind.pack(form, returned, times).unwrap_or_else(|| Err(Error::encode(UNMARKED)));
    machine.pack(&|| true, &own, &pack, ReturnKind::Negative, cost, span)
}

const UNMARKED: &str = "bare bytes cannot say that there is no value";

/// A stored value, or a stored return value without one.
type Unpacked<S> = Result<<S as Shape>::Value, <S as Shape>::Return>;

fn unpack<S: Shape>(
    form: &Form<S::Value>,
    negatives: &[Negative<S>],
    bytes: &[u8],
    flags: u32,
) -> Result<(Readable, Unpacked<S>), Refusal> {
    let refusal = match form.unpack(bytes, flags) {
        Ok(found) => return Ok((Readable::of(&found, ReturnKind::Value), Ok(found.value))),
        Err(refusal) => refusal,
    };
    let found = negatives.iter().find_map(|kind| kind.unpack(form, bytes, flags).ok());
    found.map(|found| (Readable::of(&found, ReturnKind::Negative), Err(found.value))).ok_or(refusal)
}
