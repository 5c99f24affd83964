//! One call of a memoized function, from the key to the return value.
//!
//! The two orchestrators, blocking and async, are the only doubled code; what
//! they do at each step is decided in `flow`.

use std::marker::PhantomData;
use std::time::Duration;

use crate::cache::Cache;
use crate::error::Error;
use crate::exchange::{Outcome, Ttl, Verb};
#[cfg(feature = "tokio")]
use crate::flow::Waiting;
use crate::flow::{Flow, Place};
use crate::key::{Key, KeyBuilder};
use crate::mode::{self, Mode};
use crate::policy::{Always, Choose, Chosen, Compute, Configured, OnError, Propagate, StoreIf};
use crate::record::{Form, Record};
use crate::shape::Shape;
use crate::site::Site;
use crate::telemetry::memo::CallSpan;

/// What a call is about: site, cache and ttl; then its key.
#[derive(Debug)]
pub struct Address {
    site: &'static Site,
    cache: Option<Cache>,
    ttl: Option<Ttl>,
    mode: Mode,
    /// Absent where a call is only talked about, as by an entry.
    span: Option<CallSpan>,
}

impl Address {
    /// Begins a call of the function at `site`.
    #[must_use]
    pub fn begin(site: &'static Site) -> Self {
        Address { span: Some(site.telemetry().open()), mode: mode::current(), ..Self::of(site) }
    }

    /// The address of a call that is not made.
    #[must_use]
    pub fn of(site: &'static Site) -> Self {
        Address { site, cache: None, ttl: site.ttl(), mode: Mode::Normal, span: None }
    }

    /// Leaves the cache alone unless this is so.
    #[must_use]
    pub fn when(mut self, wanted: bool) -> Self {
        if !wanted {
            self.mode = Mode::Bypass;
        }
        self
    }

    /// Uses this cache and not the process-wide one.
    #[must_use]
    pub fn cache(mut self, cache: &Cache) -> Self {
        self.cache = Some(cache.clone());
        self
    }

    /// Keeps the value this long.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(Ttl::For(ttl));
        self
    }

    /// Settles the cache and writes the key. Every site has a closure of its
    /// own for that, so it comes as an object: this is compiled once.
    #[must_use]
    pub fn key(mut self, write: &mut dyn FnMut(&mut KeyBuilder)) -> Addressed {
        let cache = self.usable_cache();
        let key = cache.as_ref().and_then(|cache| self.write_key(cache, write));
        let Address { site, ttl, mode, span, .. } = self;
        let place = cache.zip(key).map(|(cache, key)| {
            let ttl = ttl.unwrap_or_else(|| cache.ttl());
            Place::new(cache, key, ttl, mode)
        });
        if let Some(span) = &span {
            tell(span, place.as_ref());
        }
        Addressed { site, place, span }
    }

    fn usable_cache(&mut self) -> Option<Cache> {
        if self.mode == Mode::Bypass {
            return None;
        }
        let cache = self.cache.take().or_else(crate::process::cache)?;
        // Switching a function off concerns its calls: what others have cached
        // can be invalidated all the same.
        (self.span.is_none() || cache.caches(self.site.name())).then_some(cache)
    }

    fn write_key(&self, cache: &Cache, write: &mut dyn FnMut(&mut KeyBuilder)) -> Option<Key> {
        let mut write = || {
            let mut key = KeyBuilder::new(cache.namespace());
            write(&mut key);
            key.finish()
        };
        match &self.span {
            Some(span) => span.serialize_key(write),
            None => write(),
        }
    }
}

/// Tells where a call's value belongs.
fn tell(span: &CallSpan, place: Option<&Place>) {
    let Some(place) = place else { return span.bypassed() };
    span.ttl(place.ttl);
    if place.cache.records_keys() {
        span.key(place.key.text());
    }
}

/// A call whose value has its place.
#[derive(Debug)]
pub struct Addressed {
    pub(crate) site: &'static Site,
    /// Absent where nothing is cached.
    pub(crate) place: Option<Place>,
    span: Option<CallSpan>,
}

impl Addressed {
    /// Says what of the return value is stored.
    #[must_use]
    pub fn shaped<S: Shape>(self, shape: PhantomData<S>) -> Memo<S> {
        Memo { address: self, shape, codec: Configured, store_if: Always, on_error: PhantomData }
    }
}

/// A call with everything its site has chosen.
#[derive(Debug)]
pub struct Memo<S, C = Configured, I = Always, O = Compute> {
    address: Addressed,
    shape: PhantomData<S>,
    codec: C,
    store_if: I,
    on_error: PhantomData<O>,
}

impl<S: Shape, C, I, O> Memo<S, C, I, O> {
    /// Stores with this codec and not the cache's.
    #[must_use]
    pub fn codec<K>(self, codec: K) -> Memo<S, Chosen<K>, I, O> {
        let Memo { address, shape, store_if, on_error, .. } = self;
        Memo { address, shape, codec: Chosen(codec), store_if, on_error }
    }

    /// Stores only values that this allows.
    #[must_use]
    pub fn store_if<F: Fn(&S::Value) -> bool>(self, store_if: F) -> Memo<S, C, F, O> {
        let Memo { address, shape, codec, on_error, .. } = self;
        Memo { address, shape, codec, store_if, on_error }
    }

    /// Returns the cache's errors.
    #[must_use]
    pub fn propagate(self) -> Memo<S, C, I, Propagate> {
        let Memo { address, shape, codec, store_if, .. } = self;
        Memo { address, shape, codec, store_if, on_error: PhantomData }
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
    let Memo { address, codec, store_if, .. } = memo;
    let Addressed { site, place, span } = address;
    let span = span.unwrap_or_else(|| site.telemetry().open());
    let around = place.map(|place| {
        let form = Form::of(&place.key, codec.choose(&place.cache), site.version(), place.cache.compress());
        Around { flow: Flow { form, place }, store_if, on_error: O::answer }
    });
    Ready { span, around }
}

/// A call that can begin.
pub struct Ready<S: Shape, I> {
    span: CallSpan,
    /// Absent where there is nothing to ask.
    around: Option<Around<S, I>>,
}

/// A body is of a type of its own, so these are compiled for each function and
/// hold little more than the body.
impl<S: Shape, I: StoreIf<S::Value>> Ready<S, I> {
    /// The cached return value, or the body's.
    pub fn run(self, body: impl FnOnce() -> S::Return) -> S::Return {
        let _entered = self.span.enter();
        // Behind the guard, so that a panic gives the lease back in the span.
        let mut around = self.around;
        if let Some(answer) = Around::before(&mut around, &self.span) {
            return answer;
        }
        let computing = self.span.computing();
        let returned = body();
        let cost = computing.end();
        Around::after(&mut around, returned, cost, &self.span)
    }

    /// As [`Ready::run`], for a body that is a future.
    #[cfg(feature = "tokio")]
    pub async fn run_async<F: Future<Output = S::Return>>(self, body: F) -> S::Return {
        let Ready { span, mut around } = self;
        let call = async {
            if let Some(around) = &mut around {
                let found = ask_async(&mut around.flow.place, &span).await;
                if let Some(answer) = around.answer(found, &span) {
                    return answer;
                }
            }
            let (returned, cost) = span.compute_async(body).await;
            let Some(mut around) = around else { return returned };
            // From here on only the value is held while waiting: the rest of a
            // `Result` may be of a type that must stay on its thread.
            let (value, record) = match around.pack(returned, cost, &span) {
                Ok(packed) => packed,
                Err(returned) => return returned,
            };
            if let Some(record) = record {
                keep_async(&mut around.flow.place, &record, cost, &span).await;
            }
            S::join(value)
        };
        span.within(call).await
    }
}

/// What comes before a body and after it: compiled for each type of value.
struct Around<S: Shape, I> {
    flow: Flow<S::Value>,
    store_if: I,
    on_error: fn(Error) -> Option<S::Return>,
}

impl<S: Shape, I: StoreIf<S::Value>> Around<S, I> {
    /// The return value, if the body need not run.
    fn before(around: &mut Option<Self>, span: &CallSpan) -> Option<S::Return> {
        let around = around.as_mut()?;
        let found = ask(&around.flow.place, span);
        around.answer(found, span)
    }

    /// Stores what the body has returned, and returns it.
    fn after(around: &mut Option<Self>, returned: S::Return, cost: u64, span: &CallSpan) -> S::Return {
        let Some(around) = around else { return returned };
        let (value, record) = match around.pack(returned, cost, span) {
            Ok(packed) => packed,
            Err(returned) => return returned,
        };
        if let Some(record) = record {
            keep(&mut around.flow.place, &record, cost, span);
        }
        S::join(value)
    }

    /// The return value that was found, or that stands for an error.
    fn answer(&mut self, found: Outcome, span: &CallSpan) -> Option<S::Return> {
        match self.flow.judge(found, span) {
            Ok(value) => value.map(S::join),
            Err(error) => (self.on_error)(error),
        }
    }

    /// The value, and what is to be stored of it; or the return value, if it
    /// holds none.
    fn pack(&self, returned: S::Return, cost: u64, span: &CallSpan) -> Result<(S::Value, Option<Record>), S::Return> {
        let value = S::split(returned)?;
        let record = self.flow.pack(&value, cost, &self.store_if, span);
        Ok((value, record))
    }
}

fn ask(place: &Place, span: &CallSpan) -> Outcome {
    place.cache.store().ask(Verb::Get, &place.lookup(span), &place.budget)
}

fn keep(place: &mut Place, record: &Record, cost: u64, span: &CallSpan) {
    let outcome = place.cache.store().ask(Verb::Set, &place.store(record), &place.budget);
    place.stored(outcome, record, cost, span);
}

#[cfg(feature = "tokio")]
async fn ask_async(place: &mut Place, span: &CallSpan) -> Outcome {
    place.waiting = Waiting::Async;
    place.cache.store().ask_async(Verb::Get, &place.lookup(span), &place.budget).await
}

#[cfg(feature = "tokio")]
async fn keep_async(place: &mut Place, record: &Record, cost: u64, span: &CallSpan) {
    let outcome = place.cache.store().ask_async(Verb::Set, &place.store(record), &place.budget).await;
    place.stored(outcome, record, cost, span);
}
