//! What becomes of a value that has been computed: stored, handed to those who
//! wait for it, kept in this process.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::{Claim, Place};
use crate::cache::near::Holds;
use crate::call::freshness::Terms;
use crate::call::mode::Mode;
use crate::call::sibling::Aside;
#[cfg(feature = "tokio")]
use crate::detached::Resolute;
use crate::error::{Error, ErrorKind};
use crate::exchange::{self, Guard, Outcome, Reply, Request, Ttl, Write};
use crate::singleflight::Lead;
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::call::CallSpan;
use crate::value::record::Record;

/// What is to be done with an encoded value.
pub(crate) struct Packing {
    record: Arc<Record>,
    ttl: Ttl,
    /// How long to keep it in this process, and as what.
    near: Option<(Duration, Holds)>,
    stores: bool,
}

impl Place {
    /// Encodes what was computed, if this call may store or somebody waits for
    /// it. `negative` is the time for which a return value without a value is
    /// kept.
    pub(crate) fn pack(
        &mut self,
        wanted: &dyn Fn() -> bool,
        pack: &dyn Fn() -> Result<Record, Error>,
        negative: Option<Ttl>,
        span: &CallSpan,
    ) -> Option<Packing> {
        let mut stores = !matches!(self.claim, Claim::Nothing | Claim::Lost);
        if let Claim::Lost = self.claim {
            span.left_to_another();
        }
        if !stores && !self.lead.as_ref().is_some_and(Lead::is_awaited) {
            return None;
        }
        if !wanted() {
            span.not_wanted();
            return None;
        }
        let terms = Terms { ttl: negative.unwrap_or(self.terms.ttl), ..self.terms };
        if terms.ttl == Ttl::For(Duration::ZERO) {
            span.not_stored("ttl is zero");
            return None;
        }
        let Ok(record) = span.serialize_value(pack) else {
            span.not_stored(ErrorKind::Encode.as_str());
            return None;
        };
        self.show(&record.bytes, record.flags, span);
        let overhead = self.aside.as_ref().map_or(0, Aside::overhead);
        if exchange::check_size(self.slot().len() + overhead + record.bytes.len()).is_err() {
            span.not_stored(ErrorKind::TooLarge.as_str());
            stores = false;
        }
        let chance = self.cache.chance().draw(self.key.wire());
        let fresh = terms.kept(false, self.cache.jitter(), chance);
        let near = terms.near.filter(|_| self.mode != Mode::ReadOnly).map(|near| match fresh {
            Ttl::Forever => near,
            Ttl::For(fresh) => near.min(fresh),
        });
        let near = near.map(|near| (near, if negative.is_some() { Holds::Nothing } else { Holds::Value }));
        let ttl = if negative.is_some() { fresh } else { self.kept(chance) };
        Some(Packing { record: Arc::new(record), ttl, near, stores })
    }

    /// How long a value is kept; without grace where nobody could tell when
    /// that begins.
    fn kept(&self, chance: f64) -> Ttl {
        let has_grace = !self.terms.grace.is_zero();
        let with_grace = has_grace && self.cache.store().tells_time(self.slot());
        self.terms.kept(with_grace, self.cache.jitter(), chance)
    }

    /// Stores a value that no call has computed.
    pub(crate) fn putting<'a>(&'a self, record: &'a Record) -> Request<'a> {
        let Record { bytes: value, flags } = record;
        let ttl = self.kept(self.cache.chance().draw(self.key.wire()));
        Request::Store { key: self.key.wire(), value, flags: *flags, ttl, how: Write::Set, guard: Guard::None }
    }

    /// Ends the call with what is to be stored, if anything is, blocking.
    pub(crate) fn settle(&mut self, packing: Option<Packing>, span: &CallSpan) {
        match packing {
            Some(packing) => self.keep(&packing, span),
            None => self.end(),
        }
    }

    /// As [`Place::settle`], yielding. What has been computed is stored even if
    /// the call is dropped meanwhile.
    #[cfg(feature = "tokio")]
    pub(crate) async fn settle_async(mut self, packing: Option<Packing>, span: &CallSpan) {
        match packing {
            Some(packing) if packing.stores && self.cache.store().is_remote() => {
                let span = span.clone();
                let work = async move { self.keep_async(&packing, &span).await };
                Resolute::new(work, |work| crate::detached::run(telemetry::within_current(work))).await;
            }
            packing => self.settle(packing, span),
        }
    }

    /// As [`Place::settle`], waiting for nothing.
    #[cfg(feature = "tokio")]
    pub(crate) fn settle_aside(mut self, packing: Option<Packing>, span: &CallSpan) {
        match packing {
            Some(packing) if packing.stores && self.cache.store().is_remote() => {
                let span = span.clone();
                let work = async move { self.keep_async(&packing, &span).await };
                crate::detached::run(telemetry::within_current(work));
            }
            packing => self.settle(packing, span),
        }
    }

    /// Stores, blocking, and hands the value to those who wait for it.
    pub(super) fn keep(&mut self, packing: &Packing, span: &CallSpan) {
        if packing.stores {
            let guard = match &self.claim {
                Claim::Lease(lease) => lease.end(),
                _ => self.guard(),
            };
            let bytes = self.anchored(&packing.record);
            let outcome = self.ask(self.storing(packing, &bytes, guard));
            self.stored(&outcome, packing, span);
        }
        self.land(Some(Arc::clone(&packing.record)));
    }

    /// As [`Place::keep`], yielding.
    #[cfg(feature = "tokio")]
    async fn keep_async(&mut self, packing: &Packing, span: &CallSpan) {
        if packing.stores {
            let guard = match &self.claim {
                Claim::Lease(lease) => lease.end_async().await,
                _ => self.guard(),
            };
            let bytes = self.anchored(&packing.record);
            let outcome = self.ask_async(self.storing(packing, &bytes, guard)).await;
            self.stored(&outcome, packing, span);
        }
        self.land(Some(Arc::clone(&packing.record)));
    }

    fn guard(&self) -> Guard {
        match self.claim {
            Claim::Replace(cas) => Guard::Unchanged(cas),
            _ => Guard::None,
        }
    }

    fn storing<'a>(&'a self, packing: &Packing, value: &'a [u8], guard: Guard) -> Request<'a> {
        let how = if let Claim::First = self.claim { Write::Add } else { Write::Set };
        Request::Store { key: self.slot(), value, flags: packing.record.flags, ttl: packing.ttl, how, guard }
    }

    fn anchored<'a>(&self, record: &'a Record) -> Cow<'a, [u8]> {
        match &self.aside {
            Some(aside) => Cow::Owned(aside.anchored(&record.bytes)),
            None => Cow::Borrowed(&record.bytes),
        }
    }

    /// Takes note of how storing ended. The claim is used up even if the reply
    /// is unknown: the value may have been stored.
    fn stored(&mut self, outcome: &Outcome, packing: &Packing, span: &CallSpan) {
        self.claim = Claim::Nothing;
        let size = packing.record.bytes.len();
        match outcome {
            Ok(Reply::Done) => span.stored(size),
            // Written, deleted or expired since the lookup: that one wins.
            Ok(_) => return span.left_to_another(),
            Err(error) => span.not_stored(error.kind().as_str()),
        }
        if let Some((near, holds)) = packing.near {
            self.cache.near().keep(self.key.wire(), Arc::clone(&packing.record), holds, near, self.since);
        }
    }

    /// Has nobody try again at once: whoever is elected next waits until this
    /// call is taken for dead.
    pub(crate) fn back_off(&mut self) {
        if let Claim::Lease(lease) = &self.claim {
            lease.abandon();
        }
    }

    /// Ends without anything to store: others go on alone, and the next caller
    /// wins the lease.
    fn end(&mut self) {
        self.claim = Claim::Nothing;
        self.land(None);
    }

    /// What is stored is not so any longer, and nothing takes its place.
    pub(crate) fn renounce(&mut self) {
        if let Claim::Lease(lease) = &self.claim {
            lease.renounce();
        }
    }
}
