//! One call of a memoized function, from the key to the return value.
//!
//! The two orchestrators, blocking and async, are the only doubled code; what
//! they do at each step is decided in `flow`.

use std::marker::PhantomData;
use std::time::Duration;

use crate::cache::Cache;
use crate::error::Error;
use crate::exchange::{Ttl, Verb};
#[cfg(feature = "tokio")]
use crate::flow::Waiting;
use crate::flow::{Flow, Place};
use crate::key::{Key, KeyBuilder};
use crate::mode::{self, Mode};
use crate::policy::{Always, Choose, Chosen, Compute, Configured, OnError, Propagate, StoreIf};
use crate::record::Form;
use crate::shape::Shape;
use crate::site::Site;
use crate::telemetry::memo::CallSpan;

/// What a call is about: site, cache, key and ttl.
#[derive(Debug)]
pub struct Address {
    pub(crate) site: &'static Site,
    pub(crate) cache: Option<Cache>,
    pub(crate) key: Option<Key>,
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
        Address { site, cache: None, key: None, ttl: site.ttl(), mode: Mode::Normal, span: None }
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
    pub fn key(mut self, write: &mut dyn FnMut(&mut KeyBuilder)) -> Self {
        if self.mode == Mode::Bypass {
            return self;
        }
        self.cache = self.cache.or_else(crate::process::cache);
        // Switching a function off concerns its calls: what others have cached
        // can be invalidated all the same.
        if self.span.is_some() {
            self.cache = self.cache.filter(|cache| cache.caches(self.site.name()));
        }
        let Some(cache) = &self.cache else { return self };
        let mut write = || {
            let mut key = KeyBuilder::new(cache.namespace());
            write(&mut key);
            key.finish()
        };
        self.key = match &self.span {
            Some(span) => span.serialize_key(write),
            None => write(),
        };
        self
    }

    /// Says what of the return value is stored.
    #[must_use]
    pub fn shaped<S: Shape>(self, shape: PhantomData<S>) -> Memo<S> {
        Memo { address: self, shape, codec: Configured, store_if: Always, on_error: PhantomData }
    }

    pub(crate) fn ttl_on(&self, cache: &Cache) -> Ttl {
        self.ttl.unwrap_or_else(|| cache.ttl())
    }
}

/// A call with everything its site has chosen.
#[derive(Debug)]
pub struct Memo<S, C = Configured, I = Always, O = Compute> {
    address: Address,
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
    let Address { site, cache, key, ttl, mode, span } = address;
    let span = span.unwrap_or_else(|| site.telemetry().open());
    let flow = cache.zip(key).map(|(cache, key)| {
        let form = Form::of(&key, codec.choose(&cache), site.version());
        let ttl = ttl.unwrap_or_else(|| cache.ttl());
        span.ttl(ttl);
        if cache.records_keys() {
            span.key(key.text());
        }
        Flow { form, ttl, mode, place: Place::new(cache, key) }
    });
    if flow.is_none() {
        span.bypassed();
    }
    Ready { span, flow, store_if, on_error: O::answer }
}

/// A call that can begin. Without a flow there is nothing to ask.
pub struct Ready<S: Shape, I> {
    span: CallSpan,
    flow: Option<Flow<S::Value>>,
    store_if: I,
    on_error: fn(Error) -> Option<S::Return>,
}

impl<S: Shape, I: StoreIf<S::Value>> Ready<S, I> {
    /// The cached return value, or the body's.
    pub fn run(self, body: impl FnOnce() -> S::Return) -> S::Return {
        let Ready { span, flow, store_if, on_error } = self;
        let _entered = span.enter();
        let Some(mut flow) = flow else {
            return span.compute(body).0;
        };
        let found = flow.place.cache.store().ask(Verb::Get, &flow.lookup(&span), &flow.place.budget);
        match flow.judge(found, &span) {
            Ok(Some(value)) => return S::join(value),
            Ok(None) => {}
            Err(error) => {
                if let Some(answer) = on_error(error) {
                    return answer;
                }
            }
        }
        let (returned, cost) = span.compute(body);
        let value = match S::split(returned) {
            Ok(value) => value,
            Err(returned) => return returned,
        };
        if let Some(bytes) = flow.pack(&value, cost, &store_if, &span) {
            let outcome = flow.place.cache.store().ask(Verb::Set, &flow.store(&bytes), &flow.place.budget);
            flow.stored(outcome, bytes.len(), cost, &span);
        }
        S::join(value)
    }

    /// As [`Ready::run`], for a body that is a future.
    #[cfg(feature = "tokio")]
    pub async fn run_async<F: Future<Output = S::Return>>(self, body: F) -> S::Return {
        let Ready { span, flow, store_if, on_error } = self;
        let call = async {
            let Some(mut flow) = flow else {
                return span.compute_async(body).await.0;
            };
            flow.place.waiting = Waiting::Async;
            let found = flow.place.cache.store().ask_async(Verb::Get, &flow.lookup(&span), &flow.place.budget).await;
            match flow.judge(found, &span) {
                Ok(Some(value)) => return S::join(value),
                Ok(None) => {}
                Err(error) => {
                    if let Some(answer) = on_error(error) {
                        return answer;
                    }
                }
            }
            let (returned, cost) = span.compute_async(body).await;
            // From here on only the value is held while waiting: the rest of a
            // `Result` may be of a type that must stay on its thread.
            let value = match S::split(returned) {
                Ok(value) => value,
                Err(returned) => return returned,
            };
            if let Some(bytes) = flow.pack(&value, cost, &store_if, &span) {
                let outcome =
                    flow.place.cache.store().ask_async(Verb::Set, &flow.store(&bytes), &flow.place.budget).await;
                flow.stored(outcome, bytes.len(), cost, &span);
            }
            S::join(value)
        };
        span.within(call).await
    }
}
