//! One call of a memoized function, from the key to the return value.
//!
//! The two orchestrators, blocking and async, are the only doubled code; what
//! they do at each step is decided in `place`.

pub(crate) mod entry;
pub(crate) mod freshness;
pub(crate) mod machine;
pub(crate) mod mode;
pub(crate) mod negative;
pub(crate) mod policy;
pub(crate) mod shape;
pub(crate) mod sibling;
pub(crate) mod site;
pub(crate) mod typed;

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Cache;
use crate::call::freshness::{Ahead, SingleFlight, Terms};
use crate::call::machine::{Arrival, Place};
use crate::call::mode::Mode;
use crate::call::negative::Negative;
use crate::call::policy::{Always, Choose, Chosen, Compute, Configured, OnError, Propagate, StoreIf};
use crate::call::shape::{HoldsErr, HoldsNone, Shape};
use crate::call::site::Site;
use crate::call::typed::{Fallback, Flow, Next, Outcome};
use crate::codec::{Codec, Standard};
use crate::error::Error;
use crate::exchange::Ttl;
use crate::key::{Key, KeyBuilder};
use crate::singleflight::lease::Waiting;
use crate::telemetry::call::{CallSpan, Due};
use crate::value::record::{Form, Record};

/// What a call is about: site, cache and terms; then its key.
#[derive(Debug)]
pub struct Address {
    site: &'static Site,
    cache: Option<Cache>,
    /// The ttl is the cache's, unless this is said.
    ttl: Option<Ttl>,
    terms: Terms,
    mode: Mode,
    /// Or it is only talked about, as by an entry.
    is_call: bool,
}

impl Address {
    /// Begins a call of the function at `site`.
    #[must_use]
    #[inline]
    pub fn begin(site: &'static Site) -> Self {
        Address { mode: mode::current(), is_call: true, ..Self::of(site) }
    }

    /// The address of a call that is not made.
    #[must_use]
    #[inline]
    pub fn of(site: &'static Site) -> Self {
        let (ttl, terms) = (site.ttl(), Terms::of(Ttl::Forever));
        Address { site, cache: None, ttl, terms, mode: Mode::Normal, is_call: false }
    }

    /// Leaves the cache alone unless this is so.
    #[must_use]
    #[inline]
    pub fn when(mut self, wanted: bool) -> Self {
        if !wanted {
            self.mode = Mode::Bypass;
        }
        self
    }

    /// Uses this cache and not the process-wide one.
    #[must_use]
    #[inline]
    pub fn cache(mut self, cache: &Cache) -> Self {
        self.cache = Some(cache.clone());
        self
    }

    /// Keeps the value this long.
    #[must_use]
    #[inline]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(Ttl::For(ttl));
        self
    }

    /// Serves the value for so long behind its ttl while it is computed anew,
    /// or if that fails.
    #[must_use]
    #[inline]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.terms.grace = whole_seconds(grace);
        self
    }

    /// Has one caller compute the value anew when less than this is left.
    #[must_use]
    #[inline]
    pub fn refresh_ahead(mut self, window: Duration) -> Self {
        self.terms.ahead = Ahead::Of(whole_seconds(window));
        self
    }

    /// Has callers compute the value anew before its end, by chance.
    #[must_use]
    #[inline]
    pub fn refresh_auto(mut self) -> Self {
        self.terms.ahead = Ahead::Auto;
        self
    }

    /// Keeps the value this long in this process too.
    #[must_use]
    #[inline]
    pub fn near(mut self, near: Duration) -> Self {
        self.terms.near = Some(near);
        self
    }

    /// Has the value computed once at a time among these callers.
    #[must_use]
    #[inline]
    pub fn single_flight(mut self, among: SingleFlight) -> Self {
        self.terms.single_flight = among;
        self
    }

    /// Settles the cache and writes the key. Every site has a closure of its
    /// own for that, so it comes as an object: this is compiled once.
    #[must_use]
    pub fn key(&self, write: &mut dyn FnMut(&mut KeyBuilder)) -> Addressed {
        let mut room = None;
        let cache = self.usable_cache(&mut room);
        match cache {
            Some(cache) if self.is_call && self.terms.near.is_some() => self.key_near(cache, write),
            _ => self.key_far(cache, write),
        }
    }

    fn key_far(&self, cache: Option<&Cache>, write: &mut dyn FnMut(&mut KeyBuilder)) -> Addressed {
        let site = self.site;
        let span = self.is_call.then(|| site.telemetry().open());
        let spot = cache.and_then(|cache| {
            let mut write = || {
                let mut key = KeyBuilder::new(cache.namespace());
                write(&mut key);
                key.finish()
            };
            let key = match &span {
                Some(span) => span.serialize_key(write),
                None => write(),
            };
            Some(self.spot(cache, key?))
        });
        Addressed::far(site, spot, None, span)
    }

    /// The same for a call whose value may be in this process, which is not
    /// worth a span.
    #[inline]
    fn key_near(&self, cache: &Cache, write: &mut dyn FnMut(&mut KeyBuilder)) -> Addressed {
        let mut key = KEY.try_with(Cell::take).ok().flatten().unwrap_or_else(|| Box::new(KeyBuilder::empty()));
        key.begin(cache.namespace());
        write(&mut key);
        if self.reads()
            && let Some(wire) = key.wire()
            && let Some(record) = cache.near().find_plain(wire)
        {
            let owner = key.key_owner();
            let _ = KEY.try_with(|place| place.set(Some(key)));
            return Addressed {
                site: self.site,
                whereabouts: Whereabouts::Near { record, configured: *cache.codec(), owner },
            };
        }
        self.beside_near(cache, *key)
    }

    #[cold]
    fn beside_near(&self, cache: &Cache, key: KeyBuilder) -> Addressed {
        let key = key.finish();
        let near = key.as_ref().filter(|_| self.reads()).and_then(|key| cache.near().find(key.wire()));
        let span = if near.is_none() { Some(self.site.telemetry().open()) } else { None };
        Addressed::far(self.site, key.map(|key| self.spot(cache, key)), near, span)
    }

    fn reads(&self) -> bool {
        matches!(self.mode, Mode::Normal | Mode::ReadOnly)
    }

    fn spot(&self, cache: &Cache, key: Key) -> Spot {
        let ttl = self.ttl.unwrap_or_else(|| cache.ttl());
        Spot { cache: cache.clone(), key, terms: Terms { ttl, ..self.terms }, mode: self.mode }
    }

    #[inline]
    fn usable_cache<'a>(&'a self, room: &'a mut Option<Cache>) -> Option<&'a Cache> {
        if self.mode == Mode::Bypass {
            return None;
        }
        let cache = match &self.cache {
            Some(cache) => cache,
            None => crate::cache::global::cache(room)?,
        };
        // Switching a function off concerns its calls: what others have cached
        // can be invalidated all the same.
        (!self.is_call || cache.caches(self.site.name())).then_some(cache)
    }
}

thread_local! {
    /// A key that is looked for in this process: to allocate one takes as long
    /// as to look, and so does handing it about.
    static KEY: Cell<Option<Box<KeyBuilder>>> = const { Cell::new(None) };
}

/// Where a call's value belongs.
struct Spot {
    cache: Cache,
    key: Key,
    terms: Terms,
    mode: Mode,
}

impl Spot {
    fn tell(&self, span: &mut CallSpan) {
        span.ttl(self.terms.ttl);
        if self.cache.records_keys() {
            span.key(self.key.text());
        }
    }

    fn place(self) -> Place {
        Place::new(self.cache, self.key, self.terms, self.mode)
    }
}

/// The server knows whole seconds only.
fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(Ttl::For(duration).seconds().unwrap_or(0))
}

/// A call whose value has its place.
pub struct Addressed {
    site: &'static Site,
    whereabouts: Whereabouts,
}

enum Whereabouts {
    /// In this process.
    Near {
        record: Arc<Record>,
        /// The cache's codec.
        configured: Standard,
        /// The key's.
        owner: u64,
    },
    /// In a box, since it is handed on often, and large.
    Far(Box<Far>),
}

struct Far {
    /// Absent where nothing is cached.
    spot: Option<Spot>,
    /// What is in this process all the same, and has to be looked at.
    near: Option<Arc<Record>>,
    /// Absent where no call is made, or has not begun.
    span: Option<CallSpan>,
}

impl Addressed {
    fn far(site: &'static Site, spot: Option<Spot>, near: Option<Arc<Record>>, mut span: Option<CallSpan>) -> Self {
        if let Some(span) = &mut span {
            match &spot {
                Some(spot) => spot.tell(span),
                None => span.bypassed(),
            }
        }
        Addressed { site, whereabouts: Whereabouts::Far(Box::new(Far { spot, near, span })) }
    }

    /// The function, and where its value belongs.
    pub(crate) fn settled(self) -> (&'static Site, Option<Place>) {
        let place = match self.whereabouts {
            Whereabouts::Near { .. } => None,
            Whereabouts::Far(far) => far.spot.map(Spot::place),
        };
        (self.site, place)
    }

    /// The cache's codec.
    fn configured(&self) -> Option<&Standard> {
        match &self.whereabouts {
            Whereabouts::Near { configured, .. } => Some(configured),
            Whereabouts::Far(far) => far.spot.as_ref().map(|spot| spot.cache.codec()),
        }
    }

    /// Says what of the return value is stored.
    #[must_use]
    pub fn shaped<S: Shape>(self, shape: PhantomData<S>) -> Memo<S> {
        let (codec, negatives, store_if) = (Configured, Vec::new(), Always);
        Memo { address: self, shape, codec, negatives, store_if, on_error: PhantomData }
    }
}

/// A call with everything its site has chosen.
pub struct Memo<S: Shape, C = Configured, I = Always, O = Compute> {
    address: Addressed,
    shape: PhantomData<S>,
    codec: C,
    negatives: Vec<Negative<S>>,
    store_if: I,
    on_error: PhantomData<O>,
}

impl<S: Shape, C, I, O> Memo<S, C, I, O> {
    /// Stores with this codec and not the cache's.
    #[must_use]
    pub fn codec<K>(self, codec: K) -> Memo<S, Chosen<K>, I, O> {
        let Memo { address, shape, negatives, store_if, on_error, .. } = self;
        Memo { address, shape, codec: Chosen(codec), negatives, store_if, on_error }
    }

    /// Stores only values that this allows.
    #[must_use]
    pub fn store_if<F: Fn(&S::Value) -> bool>(self, store_if: F) -> Memo<S, C, F, O> {
        let Memo { address, shape, codec, negatives, on_error, .. } = self;
        Memo { address, shape, codec, negatives, store_if, on_error }
    }

    /// Returns the cache's errors.
    #[must_use]
    pub fn propagate(self) -> Memo<S, C, I, Propagate> {
        let Memo { address, shape, codec, negatives, store_if, .. } = self;
        Memo { address, shape, codec, negatives, store_if, on_error: PhantomData }
    }

    /// Stores for so long that there is no value.
    #[must_use]
    pub fn cache_none(mut self, ttl: Duration) -> Self
    where
        S: HoldsNone + 'static,
        S::Return: 'static,
    {
        self.negatives.push(Negative::none(ttl));
        self
    }

    /// Stores an error for so long.
    #[must_use]
    pub fn cache_err<K: Choose<S::Error>>(mut self, ttl: Duration, codec: K) -> Self
    where
        S: HoldsErr + 'static,
        S::Return: 'static,
        S::Error: 'static,
    {
        if let Some(configured) = self.address.configured() {
            self.negatives.push(Negative::err(ttl, codec.choose(configured)));
        }
        self
    }
}

/// Settles what a call leaves open. All that is asked of the value's type is
/// asked here, once, and of a function, so that what is missing is reported as
/// that and not as a missing method.
pub fn ready<S, C, I, O>(memo: Memo<S, C, I, O>) -> Ready<S, I>
where
    S: Shape,
    C: Choose<S::Value>,
    O: OnError<S>,
{
    let Memo { address: Addressed { site, whereabouts }, codec, negatives, store_if, .. } = memo;
    let far = match whereabouts {
        Whereabouts::Near { record, configured, owner } => {
            let codec = codec.choose(&configured);
            let start = match record.cost_of(codec.as_ref(), owner, site.version()) {
                Some(cost) => Start::Near { record, codec, cost },
                // Two functions with one key and two types: this one goes
                // without a cache for as long as the other's value is here.
                None => {
                    let span = site.telemetry().open();
                    span.bypassed();
                    Start::Call { near: None, span: Some(span), around: None }
                }
            };
            return Ready { site, start };
        }
        Whereabouts::Far(far) => *far,
    };
    let Far { spot, near, span } = far;
    let around = spot.map(|spot| {
        let form = Form::of(&spot.key, codec.choose(spot.cache.codec()), site.version(), spot.cache.wrapping());
        let flow = Flow { form, negatives, place: spot.place() };
        Box::new(Around { flow, store_if, on_error: O::answer })
    });
    Ready { site, start: Start::Call { near, span, around } }
}

/// A call that can begin.
pub struct Ready<S: Shape, I> {
    site: &'static Site,
    start: Start<S, I>,
}

enum Start<S: Shape, I> {
    /// At its end: its value is in this process.
    Near { record: Arc<Record>, codec: Box<dyn Codec<S::Value>>, cost: u64 },
    Call {
        /// What may be a return value without a value.
        near: Option<Arc<Record>>,
        span: Option<CallSpan>,
        /// What is around the body, if anything is.
        around: Option<Box<Around<S, I>>>,
    },
}

/// A call under way: its span, and what is around its body, if anything is.
type Begun<S, I> = (CallSpan, Option<Box<Around<S, I>>>);

/// A body is of a type of its own, so these are compiled for each function and
/// hold little more than the body.
impl<S: Shape, I: StoreIf<S::Value>> Ready<S, I> {
    /// What the call needs, or the return value if that is at hand.
    fn begin(self) -> Result<Begun<S, I>, S::Return> {
        let telemetry = self.site.telemetry();
        let hit = |returned, cost| {
            telemetry.near_hit(cost);
            Err(returned)
        };
        match self.start {
            Start::Near { record, codec, cost } => match record.decoded(codec.as_ref()) {
                Some(value) => hit(S::join(value), cost),
                // It has been encoded or decoded here before.
                None => Ok((telemetry.open(), None)),
            },
            Start::Call { near, span, around } => {
                let found = near.zip(around.as_ref()).and_then(|(near, around)| around.flow.near(&near));
                match found {
                    Some((returned, cost)) => hit(returned, cost),
                    None => Ok((span.unwrap_or_else(|| telemetry.open()), around)),
                }
            }
        }
    }

    /// The cached return value, or the body's.
    pub fn run(self, body: impl FnOnce() -> S::Return) -> S::Return {
        let (span, around) = match self.begin() {
            Ok(begun) => begun,
            Err(returned) => return returned,
        };
        let _entered = span.enter();
        // Behind the guard, so that a panic gives the lease back in the span.
        let mut around = around;
        let fallback = match Around::before(&mut around, &span) {
            Before::Return(returned) => return returned,
            Before::Renew(value, due) => {
                span.renews(&due);
                Fallback::Value(value)
            }
            Before::Compute => Fallback::None,
        };
        let course = around.as_ref().and_then(|around| around.flow.place.course());
        let computing = span.computing(course);
        let returned = body();
        let cost = computing.end();
        Around::after(&mut around, returned, fallback, cost, &span)
    }

    /// As [`Ready::run`], for a body that is a future.
    #[cfg(feature = "tokio")]
    pub async fn run_async<F: Future<Output = S::Return>>(self, body: F) -> S::Return {
        self.carry(body, None).await
    }

    /// As [`Ready::run_async`]; a body that is to compute a value anew does so
    /// in the background.
    #[cfg(feature = "tokio")]
    pub async fn run_detached<F>(self, body: F) -> S::Return
    where
        F: Future<Output = S::Return> + Send + 'static,
        S: 'static,
        S::Value: Send,
        I: Send + 'static,
    {
        self.carry(body, Some(detach)).await
    }

    #[cfg(feature = "tokio")]
    async fn carry<F>(self, body: F, detach: Option<Detach<S, I, F>>) -> S::Return
    where
        F: Future<Output = S::Return>,
    {
        let (span, mut around) = match self.begin() {
            Ok(begun) => begun,
            Err(returned) => return returned,
        };
        let call = async {
            let mut renewing = None;
            if let Some(around) = &mut around {
                around.flow.place.begin(Waiting::Async, &span);
                loop {
                    let arrival = around.flow.place.wait_async(&span).await;
                    match around.judge(arrival, &span) {
                        None => {}
                        Some(Before::Return(returned)) => return returned,
                        Some(Before::Renew(value, due)) => break renewing = Some((value, due)),
                        Some(Before::Compute) => break,
                    }
                }
            }
            let Some((value, due)) = renewing else { return compute(around, body, Fallback::None, &span).await };
            if let (Some(detach), true) = (detach, crate::detached::is_possible())
                && let Some(around) = around.take()
            {
                span.serves(&due);
                detach(around, body, span.refresh());
                return S::join(value);
            }
            span.renews(&due);
            compute(around, body, Fallback::Value(value), &span).await
        };
        span.within(call).await
    }
}

/// Computes in the background.
#[cfg(feature = "tokio")]
type Detach<S, I, F> = fn(Box<Around<S, I>>, F, CallSpan);

#[cfg(feature = "tokio")]
fn detach<S, I, F>(around: Box<Around<S, I>>, body: F, span: CallSpan)
where
    S: Shape + 'static,
    S::Value: Send,
    I: StoreIf<S::Value> + Send + 'static,
    F: Future<Output = S::Return> + Send + 'static,
{
    crate::detached::run(async move {
        let computing = compute(Some(around), body, Fallback::Served, &span);
        span.within(computing).await;
    });
}

#[cfg(feature = "tokio")]
async fn compute<S, I, F>(
    around: Option<Box<Around<S, I>>>,
    body: F,
    fallback: Fallback<S::Value>,
    span: &CallSpan,
) -> S::Return
where
    S: Shape,
    I: StoreIf<S::Value>,
    F: Future<Output = S::Return>,
{
    let course = around.as_ref().and_then(|around| around.flow.place.course());
    let (returned, cost) = span.compute_async(course, body).await;
    let Some(mut around) = around else { return returned };
    // From here on only the value is held while waiting: the rest of a
    // `Result` may be of a type that must stay on its thread.
    let (value, packing) = match around.pack(returned, fallback, cost, span) {
        Outcome::Value(value, packing) => (value, packing),
        Outcome::Other(returned, packing) => {
            around.flow.place.settle_aside(packing, span);
            return returned;
        }
    };
    around.flow.place.settle_async(packing, span).await;
    S::join(value)
}

/// What comes before a body and after it: compiled for each type of value.
pub(crate) struct Around<S: Shape, I> {
    flow: Flow<S>,
    store_if: I,
    on_error: fn(Error) -> Option<S::Return>,
}

/// How a call goes on after it has asked the cache.
enum Before<S: Shape> {
    Return(S::Return),
    /// Computes a new value for this one.
    Renew(S::Value, Due),
    Compute,
}

impl<S: Shape, I: StoreIf<S::Value>> Around<S, I> {
    /// The return value, if the body need not run.
    fn before(around: &mut Option<Box<Self>>, span: &CallSpan) -> Before<S> {
        let Some(around) = around else { return Before::Compute };
        around.flow.place.begin(Waiting::Blocking, span);
        loop {
            let arrival = around.flow.place.wait(span);
            if let Some(before) = around.judge(arrival, span) {
                return before;
            }
        }
    }

    /// Stores what the body has returned, and returns it.
    fn after(
        around: &mut Option<Box<Self>>,
        returned: S::Return,
        fallback: Fallback<S::Value>,
        cost: u64,
        span: &CallSpan,
    ) -> S::Return {
        let Some(around) = around else { return returned };
        match around.pack(returned, fallback, cost, span) {
            Outcome::Value(value, packing) => {
                around.flow.place.settle(packing, span);
                S::join(value)
            }
            Outcome::Other(returned, packing) => {
                around.flow.place.settle(packing, span);
                returned
            }
        }
    }

    /// How to go on; `None` if there is more to wait for.
    fn judge(&mut self, arrival: Arrival, span: &CallSpan) -> Option<Before<S>> {
        let next = match self.flow.judge(arrival, span) {
            Ok(next) => next,
            Err(error) => match (self.on_error)(error) {
                Some(answer) => {
                    span.propagated();
                    return Some(Before::Return(answer));
                }
                None => self.flow.judge(Arrival::GoOn, span).unwrap_or(Next::Compute),
            },
        };
        match next {
            Next::Return(returned) => Some(Before::Return(returned)),
            Next::Refresh(value, due) => Some(Before::Renew(value, due)),
            Next::Compute => Some(Before::Compute),
            Next::Wait => None,
        }
    }

    fn pack(&mut self, returned: S::Return, fallback: Fallback<S::Value>, cost: u64, span: &CallSpan) -> Outcome<S> {
        self.flow.pack(returned, fallback, cost, &self.store_if, span)
    }
}
