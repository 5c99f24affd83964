//! One call of a memoized function, from the key to the return value.
//!
//! The two orchestrators, blocking and async, are the only doubled code; what
//! they do at each step is decided in `flow`.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::Cache;
use crate::exchange::Ttl;
use crate::flow::{Claim, Flow, Waiting};
use crate::key::{Key, KeyWriter};
use crate::record::Form;
use crate::shape::Shape;
use crate::site::Site;
use crate::telemetry::memo::{CallSpan, MissReason};

/// What a call is about: site, cache, key and ttl.
#[derive(Debug)]
pub struct Address {
    pub(crate) site: &'static Site,
    pub(crate) cache: Option<Cache>,
    pub(crate) key: Option<Key>,
    ttl: Option<Ttl>,
    /// Absent where a call is only talked about, as by an entry.
    span: Option<CallSpan>,
}

impl Address {
    /// Begins a call of the function at `site`.
    #[must_use]
    pub fn begin(site: &'static Site) -> Self {
        Address { span: Some(site.telemetry().open()), ..Self::of(site) }
    }

    /// The address of a call that is not made.
    #[must_use]
    pub fn of(site: &'static Site) -> Self {
        Address { site, cache: None, key: None, ttl: site.ttl(), span: None }
    }

    /// Uses this cache and not the process-wide one.
    #[must_use]
    pub fn cache(mut self, cache: &Cache) -> Self {
        self.cache = Some(cache.clone());
        self
    }

    /// Keeps the value this long.
    #[must_use]
    pub fn ttl(mut self, ttl: std::time::Duration) -> Self {
        self.ttl = Some(Ttl::For(ttl));
        self
    }

    /// Settles the cache and writes the key.
    #[must_use]
    pub fn key(mut self, write: impl FnOnce(&mut KeyWriter)) -> Self {
        self.cache = self.cache.or_else(crate::process::cache).filter(|cache| cache.caches(self.site.name()));
        let Some(cache) = &self.cache else { return self };
        let write = || {
            let mut key = KeyWriter::new(cache.namespace());
            write(&mut key);
            key.finish()
        };
        self.key = match &self.span {
            Some(span) => span.serialize_key(write),
            None => write(),
        };
        self
    }

    pub(crate) fn ttl_on(&self, cache: &Cache) -> Ttl {
        self.ttl.unwrap_or_else(|| cache.ttl())
    }

    /// The flow of this call, unless there is nothing to ask.
    fn flow<V>(self, span: &CallSpan, waiting: Waiting) -> Option<Flow>
    where
        V: Serialize + DeserializeOwned,
    {
        let flow = self.cache.clone().zip(self.key.clone()).map(|(cache, key)| Flow {
            ttl: self.ttl_on(&cache),
            form: Form::of::<V>(&key, cache.codec(), self.site.version()),
            budget: cache.budget(),
            waiting,
            claim: Claim::Nothing,
            key,
            cache,
        });
        match &flow {
            None => span.miss(MissReason::Bypass),
            Some(flow) => {
                span.ttl(flow.ttl);
                if flow.cache.records_keys() {
                    span.key(flow.key.text());
                }
            }
        }
        flow
    }

    /// The cached return value, or the body's.
    pub fn run<S>(mut self, _: PhantomData<S>, body: impl FnOnce() -> S::Return) -> S::Return
    where
        S: Shape,
        S::Value: Serialize + DeserializeOwned,
    {
        let span = self.span.take().unwrap_or_else(|| self.site.telemetry().open());
        let _entered = span.enter();
        let Some(mut flow) = self.flow::<S::Value>(&span, Waiting::Blocking) else {
            return span.compute(body).0;
        };
        let found = flow.cache.store().ask(&flow.lookup(&span), &flow.budget);
        if let Some(value) = flow.judge(found, &span) {
            return S::join(value);
        }
        let (returned, cost) = span.compute(body);
        let value = match S::split(returned) {
            Ok(value) => value,
            Err(returned) => return returned,
        };
        if let Some(bytes) = flow.pack(&value, cost, &span) {
            let outcome = flow.cache.store().ask(&flow.store(&bytes), &flow.budget);
            flow.stored(outcome, bytes.len(), &span);
        }
        S::join(value)
    }

    /// As [`Address::run`], for a body that is a future.
    #[cfg(feature = "tokio")]
    pub async fn run_async<S, F>(mut self, _: PhantomData<S>, body: F) -> S::Return
    where
        S: Shape,
        S::Value: Serialize + DeserializeOwned,
        F: Future<Output = S::Return>,
    {
        let span = self.span.take().unwrap_or_else(|| self.site.telemetry().open());
        let call = async {
            let Some(mut flow) = self.flow::<S::Value>(&span, Waiting::Async) else {
                return span.compute_async(body).await.0;
            };
            let found = flow.cache.store().ask_async(&flow.lookup(&span), &flow.budget).await;
            if let Some(value) = flow.judge(found, &span) {
                return S::join(value);
            }
            let (returned, cost) = span.compute_async(body).await;
            // From here on only the value is held while waiting: the rest of a
            // `Result` may be of a type that must stay on its thread.
            let value = match S::split(returned) {
                Ok(value) => value,
                Err(returned) => return returned,
            };
            if let Some(bytes) = flow.pack(&value, cost, &span) {
                let outcome = flow.cache.store().ask_async(&flow.store(&bytes), &flow.budget).await;
                flow.stored(outcome, bytes.len(), &span);
            }
            S::join(value)
        };
        span.within(call).await
    }
}
