//! One call of a memoized function, from its key to the return value.
//!
//! The blocking orchestrator is here, its async twin in `tasks`. What both do at each
//! step is decided in `machine`.

pub(crate) mod address;
#[cfg(feature = "tokio")]
mod background;
pub(crate) mod batch;
pub(crate) mod drain;
pub(crate) mod entries;
pub(crate) mod entry;
pub(crate) mod freshness;
pub(crate) mod group;
pub(crate) mod machine;
mod memo;
pub(crate) mod mode;
pub(crate) mod negative;
pub(crate) mod period;
pub(crate) mod policy;
pub(crate) mod previous;
pub(crate) mod shape;
pub(crate) mod shapes;
pub(crate) mod sharing;
pub(crate) mod sibling;
pub(crate) mod site;
pub(crate) mod targets;
#[cfg(feature = "tokio")]
mod tasks;
mod typed;
pub(crate) mod writer;
pub(crate) mod writing;

use std::time::Duration;

use crate::cache::near::{Decoding, Holds, NearCopy};
use crate::codec::Codecs;
use crate::singleflight::places::{self, Inside, TakenPlace};
use crate::singleflight::{Computation, Entered};
use crate::telemetry::call::CallSpan;
use crate::telemetry::computing::Computing;
use crate::telemetry::observing::Observation;
use crate::value::likeness::Likeness;
use crate::value::record::{Form, StoredAs};
use address::{Addressed, Far, Tier};
use machine::Machine;
pub use memo::Memo;
use policy::{Choose, OnError, Policy};
use shape::Shape;
use sharing::{Sharer, Sharing};
use site::Site;
#[cfg(feature = "tokio")]
use tasks::{Detach, carry, detached_work, run_on};
use typed::{Fallback, Typed};

/// Readies a call in a frame of its own, which is gone when the body runs: a recursive
/// function would have one at each level.
#[inline(never)]
pub fn readied<S: Shape, I>(call: impl FnOnce() -> Ready<S, I>) -> Ready<S, I> {
    call()
}

/// Settles what a call leaves open. Everything that is required of the value's
/// type is required here, of a function: so a missing trait is reported as that
/// and not as a missing method.
pub fn ready<S, C, I, O>(memo: Memo<S, C, I, O>) -> Ready<S, I>
where
    S: Shape,
    C: Choose<S::Value>,
    O: OnError<S>,
{
    let Memo { address: Addressed { site, tier }, shape, codec, negatives, policy, previous, .. } = memo;
    let (chosen, version) = (codec.id(), site.version());
    let sharer = |sharing: Sharing<_>, configured, owner, is_grouped| {
        sharing.among(|value| Decoding { value, codec: chosen, configured, owner, version, is_grouped })
    };
    let mut far = match tier {
        Tier::Near { copy, configured, owner, observation } => {
            let sharer = shape.sharing.map(|sharing| sharer(sharing, configured, owner, false));
            return kept(&copy, || codec.choose(&configured), owner, sharer, site, observation);
        }
        Tier::Far(far) => far,
    };
    let typed = far.target.take().map(|target| {
        let sharer = |sharing| sharer(sharing, *target.cache.codec(), target.key.owner(), target.is_grouped());
        let sharer = shape.sharing.map(sharer);
        let form = Form::of(&target.key, codec.choose(target.cache.codec()), version, target.cache.wrapping());
        let form = if target.is_grouped() { form.grouped() } else { form };
        site.stores(|| form.number());
        let form = form.compared(shape.equal.map(|equal| Likeness { equal, seen: site.seen() }));
        let holds = if sharer.is_some() { Holds::Shared } else { Holds::Value };
        let mut machine = target.machine(site.pace(), holds).limited(site.places());
        machine.keeps_replaced(previous.is_some());
        Box::new(Typed { form, negatives, policy, previous, on_error: O::answer, machine, sharer })
    });
    Ready::of(site, Start::Call(OpenCall { far, typed }))
}

/// Makes a value of the copy that this process keeps. It is moved as rarely as can be:
/// that is what a hit spends its time on.
#[inline]
fn kept<S: Shape, I>(
    copy: &NearCopy,
    codec: impl FnOnce() -> Codecs<S::Value>,
    owner: u64,
    sharer: Option<Sharer<S::Value>>,
    site: &'static Site,
    observation: Option<Observation>,
) -> Ready<S, I> {
    if let Some((value, cost)) = sharer.as_ref().and_then(|sharer| sharer.find(copy)) {
        return Ready::of(site, Start::Near(NearHit { value, cost, observation }));
    }
    let codec = codec();
    let stored = copy.record().stored_as(&codec, owner, site.version());
    if let Some(StoredAs { codec: id, cost }) = stored
        && let Ok(value) = copy.record().decoded(&codec, id)
    {
        if let Some(value) = sharer.and_then(|sharer| sharer.keep(copy, &value, cost)) {
            return Ready::of(site, Start::Near(NearHit { value, cost, observation }));
        }
        return Ready::of(site, Start::Near(NearHit { value, cost, observation }));
    }
    let span = site.telemetry().open_observed(observation);
    // Two functions with one key and two types: this one goes without a cache while the
    // other's value is kept here. What is of this type was encoded or decoded here before.
    if stored.is_none() {
        span.bypassed();
    }
    let far = Box::new(Far { target: None, near: None, span: Some(span) });
    Ready::of(site, Start::Call(OpenCall { far, typed: None }))
}

/// A call that can begin.
pub struct Ready<S: Shape, I> {
    site: &'static Site,
    start: Start<S, I>,
    /// How long to wait for a new value in place of an old one.
    patience: Option<Duration>,
}

/// How a call begins.
enum Start<S: Shape, I> {
    /// At its end.
    Near(NearHit<S>),
    /// With a lookup.
    Call(OpenCall<S, I>),
}

/// A call whose value this process keeps.
struct NearHit<S: Shape> {
    value: S::Value,
    /// What it took to compute, in nanoseconds.
    cost: u64,
    observation: Option<Observation>,
}

/// A call whose value is looked up, or computed. It is small, since a body that calls the
/// function again pays for each byte.
struct OpenCall<S: Shape, I> {
    /// What this process keeps, and the call's span.
    far: Box<Far>,
    typed: CachedCall<S, I>,
}

/// What is around a call's body, where something is cached.
type CachedCall<S, I> = Option<Box<Typed<S, I>>>;

impl<S: Shape, I> Ready<S, I> {
    #[inline]
    fn of(site: &'static Site, start: Start<S, I>) -> Self {
        Ready { site, start, patience: None }
    }

    /// Waits for so long for the new value where there is an old one, which is returned
    /// then.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Ready { patience: Some(patience), ..self }
    }

    /// Returns the machine of the call, with the form that values are stored in and the
    /// policy, where something is cached.
    pub(crate) fn settled(self) -> Option<(Form<S::Value>, I, Machine)> {
        match self.start {
            Start::Near(_) => None,
            Start::Call(OpenCall { typed, .. }) => typed.map(|typed| (typed.form, typed.policy, typed.machine)),
        }
    }
}

impl<S: Shape, I> Ready<S, I> {
    /// Returns the key that the store is asked for, if something is cached.
    fn key(&self) -> Option<&str> {
        let Start::Call(OpenCall { typed: Some(typed), .. }) = &self.start else { return None };
        Some(typed.machine.key.wire())
    }
}

impl<S: Shape, I: Policy<S>> Ready<S, I> {
    /// Returns what is around the call's body where something is cached, or the return value
    /// that this process keeps and what it took to compute.
    fn element(self) -> Result<CachedCall<S, I>, (S::Return, u64)> {
        let Start::Call(OpenCall { far, typed }) = self.start else { return Ok(None) };
        match far.near.zip(typed.as_ref()).and_then(|(near, typed)| typed.near(&near)) {
            Some(found) => Err(found),
            None => Ok(typed),
        }
    }

    /// Returns the cached return value, or the body's.
    pub fn run(self, body: impl FnOnce() -> S::Return) -> S::Return {
        match self.start {
            Start::Near(hit) => hit.returned(self.site),
            Start::Call(call) => {
                let mut body = Some(body);
                call.run(self.site, &mut || body.take().expect("a call runs its body once")())
            }
        }
    }

    /// Returns the cached return value, or what the body completes with.
    #[cfg(feature = "tokio")]
    pub async fn run_async<F: Future<Output = S::Return>>(self, body: F) -> S::Return {
        let site = self.site;
        // What may be a return value is not held while this waits: it may have to stay on its
        // thread.
        let call = match self.begin() {
            Ok(call) => call,
            Err(returned) => return returned,
        };
        carry((call.far, call.typed), site, body, None).await
    }

    /// Runs as [`Ready::run_async`] does, but refreshes in the background.
    #[cfg(feature = "tokio")]
    pub async fn run_detached<F>(self, body: F) -> S::Return
    where
        F: Future<Output = S::Return> + Send + 'static,
        S: 'static,
        S::Value: Send,
        I: Send + 'static,
    {
        let (site, patience) = (self.site, self.patience);
        let call = match self.begin() {
            Ok(call) => call,
            Err(returned) => return returned,
        };
        carry((call.far, call.typed), site, body, Some(Detach { work: detached_work, leave: run_on, patience })).await
    }

    /// Returns the call, or the return value if that is at hand.
    #[cfg(feature = "tokio")]
    fn begin(self) -> Result<OpenCall<S, I>, S::Return> {
        match self.start {
            Start::Near(hit) => Err(hit.returned(self.site)),
            Start::Call(mut call) => match call.at_hand(self.site) {
                Some(returned) => Err(returned),
                None => Ok(call),
            },
        }
    }
}

impl<S: Shape> NearHit<S> {
    /// Ends the call.
    #[inline]
    fn returned(self, site: &'static Site) -> S::Return {
        site.telemetry().near_hit(self.cost, self.observation.as_ref());
        S::join(self.value)
    }
}

impl<S: Shape, I: Policy<S>> OpenCall<S, I> {
    /// Returns the return value if this process has it. Begins the call's span otherwise,
    /// unless that has begun.
    #[inline(never)]
    fn at_hand(&mut self, site: &'static Site) -> Option<S::Return> {
        let (telemetry, OpenCall { far, typed }) = (site.telemetry(), self);
        if far.span.is_some() {
            return None;
        }
        let observation = telemetry.observe();
        if let (Some(observation), Some(typed)) = (&observation, &typed) {
            let key = &typed.machine.key;
            observation.at(key.text(), key.wire());
        }
        match far.near.take().zip(typed.as_ref()).and_then(|(near, typed)| typed.near(&near)) {
            Some((returned, cost)) => {
                telemetry.near_hit(cost, observation.as_ref());
                Some(returned)
            }
            None => {
                far.span = Some(telemetry.open_observed(observation));
                None
            }
        }
    }

    /// Runs a body that comes as an object: each body has a type of its own, and
    /// this is compiled once for all that return the same. The frames of what comes before
    /// the body are gone when it runs.
    fn run(mut self, site: &'static Site, body: &mut dyn FnMut() -> S::Return) -> S::Return {
        if let Some(returned) = self.at_hand(site) {
            return returned;
        }
        let OpenCall { mut far, typed } = self;
        let span = far.span(site);
        let _entered = span.enter();
        // Behind the guard, so that a panic gives the lease back in the span.
        let mut typed = typed;
        let mut fallback = Fallback::None;
        if let Some(typed) = &mut typed
            && let Some(returned) = typed.found(&mut fallback, span)
        {
            return returned;
        }
        let inside = InBody::enter(site, typed.as_deref_mut(), span);
        let returned = body();
        let cost = inside.leave();
        match typed {
            Some(typed) => typed.settled(returned, fallback, cost, span),
            None => returned,
        }
    }
}

/// What holds while a body runs, in the order in which it ends.
struct InBody<'a> {
    computing: Computing<'a>,
    _computes: Option<Entered>,
    _inside: Option<Inside>,
    place: Option<TakenPlace>,
}

impl<'a> InBody<'a> {
    /// Waits for a place, if those are limited, and begins to compute.
    #[inline(never)]
    fn enter<S: Shape, I>(site: &'static Site, typed: Option<&mut Typed<S, I>>, span: &'a CallSpan) -> Box<Self> {
        let (place, computation) = match typed {
            Some(typed) => (typed.machine.take_place(), typed.machine.computation()),
            None => (site.admit().wait(span), None),
        };
        let (inside, computes) = (place.as_ref().map(TakenPlace::enter), computation.map(Computation::enter));
        Box::new(InBody { computing: span.computing(), _computes: computes, _inside: inside, place })
    }

    /// Ends with the body. Returns its cost in nanoseconds, and what that tells about
    /// computing.
    #[inline(never)]
    #[expect(clippy::boxed_local, reason = "unboxed, it would be in the frame of each level of a recursion")]
    fn leave(self: Box<Self>) -> (u64, Option<Duration>) {
        let InBody { computing, _computes, _inside, place } = *self;
        let cost = computing.end();
        (cost, places::told_by(place, Duration::from_nanos(cost)))
    }
}
