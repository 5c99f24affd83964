//! One call of a memoized function, from its key to the return value.
//!
//! The blocking and the async orchestrator here are the only doubled code. What
//! they do at each step is decided in `machine`.

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
pub(crate) mod mode;
pub(crate) mod negative;
pub(crate) mod period;
pub(crate) mod policy;
pub(crate) mod previous;
pub(crate) mod shape;
pub mod shapes;
pub mod sharing;
pub(crate) mod sibling;
pub(crate) mod site;
pub(crate) mod targets;
mod typed;
pub(crate) mod writer;
pub(crate) mod writing;

use std::marker::PhantomData;
#[cfg(feature = "tokio")]
use std::pin::Pin;
use std::time::Duration;

#[cfg(feature = "tokio")]
use crate::cache::global;
use crate::cache::near::{Decoding, Holds, NearCopy};
use crate::codec::Codecs;
#[cfg(feature = "tokio")]
use crate::detached::{self, Resolute, Work};
use crate::singleflight::Computation;
#[cfg(feature = "tokio")]
use crate::singleflight::driving::Driven;
use crate::singleflight::places::TakenPlace;
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::call::CallSpan;
#[cfg(feature = "tokio")]
use crate::telemetry::call::Due;
use crate::telemetry::observing::Observation;
#[cfg(feature = "tokio")]
use crate::time::timer;
use crate::value::likeness::Likeness;
use crate::value::record::{Form, StoredAs};
use address::{Addressed, Far, Tier};
#[cfg(feature = "tokio")]
use background::Refresh;
#[cfg(feature = "tokio")]
use machine::Packing;
use machine::{Machine, Step};
use negative::Negative;
use period::Lifetime;
use policy::{Always, Choose, Chosen, Compute, Configured, Excusing, Lasting, OnError, Policy, Propagate, Wanted};
use previous::PreviousSlot;
use shape::{HoldsErr, HoldsNone, Shape};
use shapes::Shaped;
use sharing::{Sharer, Sharing};
use site::Site;
#[cfg(feature = "tokio")]
use typed::OldValue;
use typed::{Fallback, Packed, Typed};

/// A call with everything that its site has chosen.
pub struct Memo<S: Shape, C = Configured, I = Always, O = Compute> {
    address: Addressed,
    shape: Shaped<S>,
    codec: C,
    negatives: Vec<Negative<S>>,
    policy: I,
    previous: Option<PreviousSlot<S::Value>>,
    on_error: PhantomData<O>,
}

impl Addressed {
    /// Says what part of the return value is stored.
    #[must_use]
    pub fn shaped<S: Shape>(self, shape: Shaped<S>) -> Memo<S> {
        let (codec, negatives, policy) = (Configured, Vec::new(), Always);
        Memo { address: self, shape, codec, negatives, policy, previous: None, on_error: PhantomData }
    }
}

impl<S: Shape, C, I, O> Memo<S, C, I, O> {
    /// Lets near hits share one value, if its type allows that.
    #[must_use]
    pub fn sharing(mut self, sharing: Option<Sharing<S::Value>>) -> Self {
        self.shape.sharing = sharing;
        self
    }

    /// Stores with this codec instead of the cache's.
    #[must_use]
    pub fn codec<K>(self, codec: K) -> Memo<S, Chosen<K>, I, O> {
        let Memo { address, shape, negatives, policy, previous, on_error, .. } = self;
        Memo { address, shape, codec: Chosen(codec), negatives, policy, previous, on_error }
    }

    /// Stores only the values that this allows.
    #[must_use]
    pub fn store_if<F: Fn(&S::Value) -> bool>(self, closure: F) -> Memo<S, C, Wanted<S::Value, F, I>, O> {
        self.with_policy(|policy| Wanted::by(closure, policy))
    }

    /// Keeps each value for as long as this says.
    #[must_use]
    pub fn lasting<F, P: Lifetime>(self, closure: F) -> Memo<S, C, Lasting<S::Value, F, I>, O>
    where
        F: Fn(&S::Value) -> P,
    {
        self.with_policy(|policy| Lasting::ttl(closure, policy))
    }

    /// Serves each value past its ttl for as long as this says.
    #[must_use]
    pub fn graced<F, P: Lifetime>(self, closure: F) -> Memo<S, C, Lasting<S::Value, F, I>, O>
    where
        F: Fn(&S::Value) -> P,
    {
        self.with_policy(|policy| Lasting::grace(closure, policy))
    }

    /// Leaves the value that the body replaces in this slot.
    #[must_use]
    pub fn replacing(mut self, slot: &PreviousSlot<S::Value>) -> Self {
        self.previous = Some(slot.clone());
        self
    }

    /// Serves an old value in place of the errors that this allows, and of no others.
    #[must_use]
    pub fn stale_if<E, F: Fn(&E) -> bool>(self, closure: F) -> Memo<S, C, Excusing<S, E, F, I>, O>
    where
        S: HoldsErr<Error = E>,
    {
        self.with_policy(|policy| Excusing::by(closure, policy))
    }

    fn with_policy<T>(self, policy: impl FnOnce(I) -> T) -> Memo<S, C, T, O> {
        let Memo { address, shape, codec, negatives, policy: before, previous, on_error } = self;
        Memo { address, shape, codec, negatives, policy: policy(before), previous, on_error }
    }

    /// Returns the cache's errors.
    #[must_use]
    pub fn propagate(self) -> Memo<S, C, I, Propagate> {
        let Memo { address, shape, codec, negatives, policy, previous, .. } = self;
        Memo { address, shape, codec, negatives, policy, previous, on_error: PhantomData }
    }

    /// Stores for this long that there is no value.
    #[must_use]
    pub fn cache_none(mut self, ttl: Duration) -> Self
    where
        S: HoldsNone + 'static,
        S::Return: 'static,
    {
        self.negatives.push(Negative::none(ttl));
        self
    }

    /// Stores an error for this long.
    #[must_use]
    pub fn cache_err<K: Choose<S::Error>>(self, ttl: Duration, codec: K) -> Self
    where
        S: HoldsErr + 'static,
        S::Return: 'static,
        S::Error: 'static,
    {
        self.cache_err_for(move |_: &S::Error| ttl, codec)
    }

    /// Stores each error for as long as this says.
    #[must_use]
    pub fn cache_err_for<K: Choose<S::Error>, P: Lifetime>(
        mut self,
        ttl: impl Fn(&S::Error) -> P + Send + Sync + 'static,
        codec: K,
    ) -> Self
    where
        S: HoldsErr + 'static,
        S::Return: 'static,
        S::Error: 'static,
    {
        let ttl = Box::new(move |error: &S::Error| ttl(error).lifetime());
        if let Some(configured) = self.address.configured() {
            self.negatives.push(Negative::err(ttl, codec.choose(configured)));
        }
        self
    }
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
    let far = match tier {
        Tier::Near { copy, configured, owner, observation } => {
            let sharer = shape.sharing.map(|sharing| sharer(sharing, configured, owner, false));
            let start = match kept(&copy, || codec.choose(&configured), owner, version, sharer) {
                Ok(found) => Start::Kept { found, observation },
                // Two functions with one key and two types: this one goes
                // without a cache while the other's value is kept here.
                Err(OfAnother) => {
                    let span = site.telemetry().open_observed(observation);
                    span.bypassed();
                    Start::Call { near: None, span: Some(span), typed: None }
                }
            };
            return Ready::of(site, start);
        }
        Tier::Far(far) => *far,
    };
    let Far { target, near, span } = far;
    let typed = target.map(|target| {
        let sharer = |sharing| sharer(sharing, *target.cache.codec(), target.key.owner(), target.is_grouped());
        let sharer = shape.sharing.map(sharer);
        let form = Form::of(&target.key, codec.choose(target.cache.codec()), version, target.cache.wrapping());
        let form = if target.is_grouped() { form.grouped() } else { form };
        let form = form.compared(shape.equal.map(|equal| Likeness { equal, seen: site.seen() }));
        let holds = if sharer.is_some() { Holds::Shared } else { Holds::Value };
        let mut machine = target.machine(site.pace(), holds).limited(site.places());
        machine.keeps_replaced(previous.is_some());
        Box::new(Typed { form, negatives, policy, previous, on_error: O::answer, machine, sharer })
    });
    Ready::of(site, Start::Call { near, span, typed })
}

/// A copy that values of this type are not made of.
struct OfAnother;

/// Makes a value of the copy that this process keeps, and says what it took to compute.
/// `None` if it cannot be decoded, though it was encoded or decoded here before.
#[inline]
fn kept<V>(
    copy: &NearCopy,
    codec: impl FnOnce() -> Codecs<V>,
    owner: u64,
    version: u32,
    sharer: Option<Sharer<V>>,
) -> Result<Option<(V, u64)>, OfAnother> {
    if let Some(shared) = sharer.as_ref().and_then(|sharer| sharer.find(copy)) {
        return Ok(Some(shared));
    }
    let codec = codec();
    let StoredAs { codec: id, cost } = copy.record().stored_as(&codec, owner, version).ok_or(OfAnother)?;
    let decoded = copy.record().decoded(&codec, id);
    Ok(decoded.map(|value| match sharer {
        Some(sharer) => (sharer.keep(copy, value, cost), cost),
        None => (value, cost),
    }))
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
    /// At its end: this process keeps its value, and what that took to compute. `None` if
    /// it could not be decoded.
    Kept { found: Option<(S::Value, u64)>, observation: Option<Observation> },
    /// With a lookup.
    Call {
        /// What this process keeps, which may be a return value without a value.
        near: Option<NearCopy>,
        span: Option<CallSpan>,
        /// Absent where nothing is cached.
        typed: Option<Box<Typed<S, I>>>,
    },
}

/// A call under way: its span, and what is around its body where something is
/// cached.
type Started<S, I> = (CallSpan, CachedCall<S, I>);

/// What is around a call's body, where something is cached.
type CachedCall<S, I> = Option<Box<Typed<S, I>>>;

impl<S: Shape, I> Ready<S, I> {
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
            Start::Kept { .. } => None,
            Start::Call { typed, .. } => typed.map(|typed| (typed.form, typed.policy, typed.machine)),
        }
    }
}

impl<S: Shape, I> Ready<S, I> {
    /// Returns the key that the store is asked for, if something is cached.
    fn key(&self) -> Option<&str> {
        let Start::Call { typed: Some(typed), .. } = &self.start else { return None };
        Some(typed.machine.key.wire())
    }
}

impl<S: Shape, I: Policy<S>> Ready<S, I> {
    /// Returns what is around the call's body where something is cached, or the return value
    /// that this process keeps and what it took to compute.
    fn element(self) -> Result<CachedCall<S, I>, (S::Return, u64)> {
        let Start::Call { near, typed, .. } = self.start else { return Ok(None) };
        match near.zip(typed.as_ref()).and_then(|(near, typed)| typed.near(&near)) {
            Some(found) => Err(found),
            None => Ok(typed),
        }
    }

    /// Returns what the call needs, or the return value if that is at hand.
    fn begin(self) -> Result<Started<S, I>, S::Return> {
        let telemetry = self.site.telemetry();
        let hit = |returned, cost, observation: Option<&Observation>| {
            telemetry.near_hit(cost, observation);
            Err(returned)
        };
        let (kept, observation) = match self.start {
            Start::Kept { found, observation } => (found, observation),
            Start::Call { near, span, typed } => {
                if let Some(span) = span {
                    return Ok((span, typed));
                }
                let observation = telemetry.observe();
                if let (Some(observation), Some(typed)) = (&observation, &typed) {
                    let key = &typed.machine.key;
                    observation.at(key.text(), key.wire());
                }
                let found = near.zip(typed.as_ref()).and_then(|(near, typed)| typed.near(&near));
                return match found {
                    Some((returned, cost)) => hit(returned, cost, observation.as_ref()),
                    None => Ok((telemetry.open_observed(observation), typed)),
                };
            }
        };
        match kept {
            Some((value, cost)) => hit(S::join(value), cost, observation.as_ref()),
            // It was encoded or decoded here before.
            None => Ok((telemetry.open_observed(observation), None)),
        }
    }

    /// Returns the cached return value, or the body's.
    pub fn run(self, body: impl FnOnce() -> S::Return) -> S::Return {
        let mut body = Some(body);
        self.run_object(&mut || body.take().expect("a call runs its body once")())
    }

    /// Runs a body that comes as an object: each body has a type of its own, and
    /// this is compiled once for all that return the same.
    fn run_object(self, body: &mut dyn FnMut() -> S::Return) -> S::Return {
        let site = self.site;
        let (span, typed) = match self.begin() {
            Ok(begun) => begun,
            Err(returned) => return returned,
        };
        let _entered = span.enter();
        // Behind the guard, so that a panic gives the lease back in the span.
        let mut typed = typed;
        let mut fallback = Fallback::None;
        if let Some(typed) = &mut typed {
            match typed.look(&span) {
                Step::Return(returned) => return returned,
                Step::Refresh(value, due) => {
                    span.renews(&due);
                    fallback = Fallback::Value(value);
                }
                Step::Compute | Step::Wait => {}
            }
        }
        let (returned, cost) = {
            let place = match &mut typed {
                Some(typed) => typed.machine.take_place(),
                None => site.admit().wait(&span),
            };
            let _inside = place.as_ref().map(TakenPlace::enter);
            let _computes = computation(typed.as_deref()).map(Computation::enter);
            let computing = span.computing();
            let returned = body();
            (returned, computing.end())
        };
        let Some(typed) = &mut typed else { return returned };
        typed.machine.computed(Duration::from_nanos(cost));
        let Packed { returned, packing } = typed.pack(returned, fallback, cost, &span);
        typed.machine.settle(packing, &span);
        match returned {
            Ok(value) => S::join(value),
            Err(returned) => returned,
        }
    }

    /// Returns the cached return value, or what the body completes with.
    #[cfg(feature = "tokio")]
    pub async fn run_async<F: Future<Output = S::Return>>(self, body: F) -> S::Return {
        let site = self.site;
        let begun = match self.begin() {
            Ok(begun) => begun,
            Err(returned) => return returned,
        };
        carry(begun, site, body, None).await
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
        let begun = match self.begin() {
            Ok(begun) => begun,
            Err(returned) => return returned,
        };
        carry(begun, site, body, Some(Detach { work: detached_work, leave: run_on, patience })).await
    }
}

/// Carries out a call whose value is not kept near. It is in a box, and the body is
/// in another: the caller's future, and the frame of each poll, would have room
/// for both several times over.
#[cfg(feature = "tokio")]
#[inline(never)]
fn carry<S, I, F>(
    (span, mut typed): Started<S, I>,
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
        let call = async {
            // Nothing that may be a return value is held while this waits.
            let mut refreshing = None;
            if let Some(typed) = &mut typed {
                match typed.look_async(&span).await {
                    Step::Return(returned) => return returned,
                    Step::Refresh(value, due) => refreshing = Some((value, due)),
                    Step::Compute | Step::Wait => {}
                }
            }
            let place = match &mut typed {
                Some(typed) => typed.machine.take_place(),
                None => site.admit().wait_async(&span).await,
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
            compute(typed, body, place, fallback, &span).await
        };
        span.within(call).await
    })
}

/// Refreshes an old value without its caller, which gets the old value at once or after
/// some patience. The future is in a box for the same reason as the call.
#[cfg(feature = "tokio")]
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

/// Returns the computation that others wait for, if this call leads one.
fn computation<S: Shape, I>(typed: Option<&Typed<S, I>>) -> Option<Computation> {
    typed.and_then(|typed| typed.machine.computation())
}

/// A refresh that does not need its caller.
#[cfg(feature = "tokio")]
struct RefreshParts<S: Shape, I, F> {
    typed: Box<Typed<S, I>>,
    body: Pin<Box<F>>,
    place: Option<TakenPlace>,
    refresh: Refresh,
    span: CallSpan,
}

#[cfg(feature = "tokio")]
type MakeWork<S, I, F> =
    fn(RefreshParts<S, I, F>, Fallback<<S as Shape>::Value>) -> Work<'static, <S as Shape>::Return>;

/// How a refresh goes on without its caller.
#[cfg(feature = "tokio")]
struct Detach<S: Shape, I, F> {
    /// Makes work of it that any task can do.
    work: MakeWork<S, I, F>,
    /// Leaves that to the background.
    leave: fn(Work<'static, S::Return>),
    /// How long its caller waits before, if it does.
    patience: Option<Duration>,
}

#[cfg(feature = "tokio")]
fn detached_work<S, I, F>(parts: RefreshParts<S, I, F>, fallback: Fallback<S::Value>) -> Work<'static, S::Return>
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
#[cfg(feature = "tokio")]
fn run_on<T: 'static>(work: Work<'static, T>) {
    detached::run(async move { drop(work.await) });
}

#[cfg(feature = "tokio")]
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
    let work = Driven::new(body, computation(typed.as_deref()), drive, span.observation()).within(place);
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
#[cfg(feature = "tokio")]
#[inline(never)]
#[expect(clippy::boxed_local, reason = "unboxed, it would be in the caller's frame")]
fn settle_later<S: Shape, I>(
    typed: Box<Typed<S, I>>,
    packing: Option<Packing>,
    span: &CallSpan,
) -> Option<Work<'static, ()>> {
    typed.machine.settle_later(packing, span)
}
