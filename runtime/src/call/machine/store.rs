//! What becomes of a computed value: it is stored, handed to the waiters, and
//! kept in this process.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::super::freshness::{Grace, Keeping, OwnTimes};
use super::super::mode::Mode;
use super::super::sibling::Sibling;
use super::{Claim, Machine, ReturnKind};
use crate::cache::near::{Holds, Since};
#[cfg(feature = "tokio")]
use crate::detached::Work;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Guard, Outcome, Reply, Request, Ttl, Write};
use crate::singleflight::Lead;
use crate::singleflight::lease::Io;
use crate::telemetry::call::CallSpan;
use crate::value::envelope::Times;
use crate::value::record::Record;

/// An encoded value, and what to do with it.
pub(crate) struct Packing {
    pub(super) record: Arc<Record>,
    ttl: Ttl,
    /// How long of that it is fresh.
    fresh: Ttl,
    /// How long to keep it in this process, and as what.
    near: Option<(Holds, Duration)>,
    pub(super) stores: bool,
}

impl Machine {
    /// Encodes what was computed, if this call may store it or a caller waits for
    /// it. `own` is how long it is kept, as far as it says so itself; `pack` is told what
    /// the envelope says of its time; the return value is of this `kind`, and took
    /// `cost` nanoseconds.
    pub(crate) fn pack(
        &mut self,
        wanted: &dyn Fn() -> bool,
        own: &dyn Fn() -> OwnTimes,
        pack: &dyn Fn(Times) -> Result<Record, Error>,
        kind: ReturnKind,
        cost: u64,
        span: &CallSpan,
    ) -> Option<Packing> {
        let may_store = self.claim.may_store() && self.groups.allow_storing();
        if !may_store {
            // Otherwise a writer could put a value there that is older than this one, and this
            // process would still have the value before.
            self.replaces_by_nothing();
        }
        match self.claim {
            _ if !self.groups.allow_storing() => span.left_to_a_writer(),
            Claim::Lost => span.left_to_another(),
            Claim::Marked => span.left_to_a_writer(),
            Claim::Nothing | Claim::First | Claim::Lease(_) | Claim::Replace(_) => {}
        }
        if !may_store && !self.lead.as_ref().is_some_and(Lead::is_awaited) {
            return None;
        }
        if !wanted() {
            span.not_wanted("store_if");
            self.replaces_by_nothing();
            return None;
        }
        let own = own();
        if own.ttl.unwrap_or(self.freshness.ttl) == Ttl::For(Duration::ZERO) {
            match own.ttl {
                Some(_) => span.not_wanted("ttl"),
                None => span.not_stored("ttl is zero"),
            }
            self.replaces_by_nothing();
            return None;
        }
        let keeping = self.keeping(own, kind);
        let record = match span.serialize_value(|| pack(keeping.times(cost, self.groups.stamps()))) {
            Ok(record) => record,
            Err(error) => {
                span.unstorable(&error);
                self.renounce();
                return None;
            }
        };
        self.show(&record.bytes, record.flags, span);
        let stores = may_store && self.fits(&record, span);
        if self.removes {
            return None;
        }
        let near = self.freshness.near.filter(|_| self.mode != Mode::ReadOnly).map(|near| match keeping.fresh {
            Ttl::Forever => near,
            Ttl::For(fresh) => near.min(fresh),
        });
        let near = near.map(|near| (self.holds(kind), near));
        Some(Packing { record: Arc::new(record), ttl: keeping.item, fresh: keeping.fresh, near, stores })
    }

    /// Returns how long a value that is stored now is kept, by what it says itself. A return
    /// value without a value is kept for its time, and no longer.
    fn keeping(&self, own: OwnTimes, kind: ReturnKind) -> Keeping {
        let mut freshness = self.freshness.with(own);
        if kind == ReturnKind::Negative {
            (freshness.grace, freshness.idle) = (Grace::NONE, None);
        }
        let is_timed = freshness.grace != Grace::NONE || freshness.idle.is_some();
        let tells_time = is_timed && self.cache.store().tells_time(self.stored_key());
        freshness.keeping(tells_time, self.cache.jitter(), self.cache.random().draw(self.key.wire()))
    }

    /// Returns since when a value is known to be the current one that the server stores if it is
    /// sent now. Of groups and of a sibling's anchor it knows nothing.
    pub(super) fn sent(&self) -> Since {
        match self.groups.is_empty() && self.sibling.is_none() {
            true => self.cache.near().storing(self.since),
            false => self.since,
        }
    }

    /// Stores nothing: a refresh removes what was there before.
    fn replaces_by_nothing(&mut self) {
        if self.mode == Mode::Refresh {
            self.renounce();
        }
    }

    fn fits(&mut self, record: &Record, span: &CallSpan) -> bool {
        let overhead = self.sibling.as_ref().map_or(0, Sibling::overhead);
        let bytes = self.stored_key().len() + overhead + record.bytes.len();
        match self.cache.item_limit().check(bytes) {
            Ok(()) => true,
            Err(error) => {
                span.unstorable(&error);
                self.renounce();
                false
            }
        }
    }

    /// Returns the request that stores a value that no call has computed.
    pub(crate) fn putting<'a>(&'a self, record: &'a Record, ttl: Ttl) -> Request<'a> {
        let Record { bytes: value, flags } = record;
        Request::Store { key: self.key.wire(), value, flags: *flags, ttl, how: Write::Set, guard: Guard::None }
    }

    /// Returns how long such a value is kept; `own` is what it says itself.
    pub(crate) fn put_for(&self, own: OwnTimes) -> Keeping {
        self.keeping(own, ReturnKind::Value)
    }

    /// Ends the call and stores what there is to store, blocking.
    pub(crate) fn settle(&mut self, packing: Option<Packing>, span: &CallSpan) {
        let Some(packing) = packing else {
            if self.removes {
                drop(self.ask(self.removing()));
                self.forget();
            }
            return self.end();
        };
        if packing.stores {
            self.pause_for_io();
            let guard = match &self.claim {
                Claim::Lease(lease) => lease.end(&self.budget),
                claim => Some(claim.guard()),
            };
            let bytes = self.anchored(&packing.record);
            let sent = self.sent();
            let outcome = guard.map(|guard| self.ask(self.storing(&packing, &bytes, guard)));
            if self.supersedes(outcome.as_ref()) {
                drop(self.ask(self.removing()));
            }
            self.stored(outcome, &packing, sent, span);
        }
        self.land(Some(packing.record));
    }

    /// Ends the call. Where storing takes time it comes back as a future, which
    /// is to run to its end even if the caller goes.
    #[cfg(feature = "tokio")]
    pub(crate) fn settle_later(mut self, packing: Option<Packing>, span: &CallSpan) -> Option<Work<'static, ()>> {
        match packing {
            Some(packing) if packing.stores && self.cache.store().is_remote() => {
                let span = span.clone();
                Some(Box::pin(async move { self.settle_async(packing, &span).await }))
            }
            None if self.removes && self.cache.store().is_remote() => Some(Box::pin(async move {
                drop(self.ask_async(self.removing()).await);
                self.forget();
                self.end();
            })),
            packing => {
                self.settle(packing, span);
                None
            }
        }
    }

    #[cfg(feature = "tokio")]
    async fn settle_async(&mut self, packing: Packing, span: &CallSpan) {
        self.pause_for_io();
        let guard = match &self.claim {
            Claim::Lease(lease) => lease.end_async(&self.budget).await,
            claim => Some(claim.guard()),
        };
        let bytes = self.anchored(&packing.record);
        let sent = self.sent();
        let outcome = match guard {
            Some(guard) => Some(self.ask_async(self.storing(&packing, &bytes, guard)).await),
            None => None,
        };
        if self.supersedes(outcome.as_ref()) {
            drop(self.ask_async(self.removing()).await);
        }
        self.stored(outcome, &packing, sent, span);
        self.land(Some(packing.record));
    }

    pub(super) fn storing<'a>(&'a self, packing: &Packing, value: &'a [u8], guard: Guard) -> Request<'a> {
        let how = if let Claim::First = self.claim { Write::Add } else { Write::Set };
        Request::Store { key: self.stored_key(), value, flags: packing.record.flags, ttl: packing.ttl, how, guard }
    }

    /// Returns whether this call is to remove what is stored: it replaces what was there, and
    /// could not. What is there instead may be an older computation's.
    pub(super) fn supersedes(&self, outcome: Option<&Outcome>) -> bool {
        self.mode == Mode::Refresh && !matches!(outcome, Some(Ok(Reply::Done) | Err(_)))
    }

    pub(super) fn removing(&self) -> Request<'_> {
        Request::Delete { key: self.stored_key(), guard: Guard::None }
    }

    pub(super) fn anchored<'a>(&self, record: &'a Record) -> Cow<'a, [u8]> {
        match &self.sibling {
            Some(sibling) => Cow::Owned(sibling.anchored(&record.bytes)),
            None => Cow::Borrowed(&record.bytes),
        }
    }

    /// Takes in how storing ended, if it was tried: a lease may have been lost. The
    /// claim is used up even if the reply is unknown, since the value may have been
    /// stored. `sent` is when the request was.
    pub(super) fn stored(&mut self, outcome: Option<Outcome>, packing: &Packing, sent: Since, span: &CallSpan) {
        self.claim = Claim::Nothing;
        let near = packing.near.map(|(holds, near)| (Arc::clone(&packing.record), holds, near));
        let (near, since) = match outcome {
            Some(Ok(Reply::Done)) => {
                self.refund();
                span.stored(packing.record.bytes.len(), packing.fresh);
                (near, sent)
            }
            // Written, deleted or expired since the lookup: that one wins.
            None | Some(Ok(_)) => {
                span.left_to_another();
                (None, self.since)
            }
            Some(Err(error)) => {
                match error.kind() {
                    // The server has removed what was there before.
                    ErrorKind::TooLarge => span.unstorable(&error),
                    kind => span.not_stored(kind.as_str()),
                }
                (near, self.since)
            }
        };
        if self.mode == Mode::Refresh {
            self.cache.flights().detach(self.key.wire());
        }
        self.cache.near().replace(self.key.wire(), near, since);
    }

    /// Keeps other callers from trying again at once: the next one is elected
    /// when this call is taken for dead.
    pub(crate) fn back_off(&mut self) {
        if let Claim::Lease(lease) = &self.claim {
            lease.abandon();
        }
    }

    /// Ends without anything to store: the waiters go on alone, and the next
    /// caller wins the lease.
    pub(super) fn end(&mut self) {
        // A lease that is dropped is given back in a time of its own.
        let forfeit = if self.io == Io::Blocking { self.forfeit() } else { None };
        self.claim = Claim::Nothing;
        self.land(None);
        forfeit.iter().for_each(|forfeit| drop(self.ask(forfeit.request())));
    }

    /// Sees to it that the stored value, which is no longer right, is removed: when the
    /// lease ends, or before a call returns that was to replace it.
    pub(crate) fn renounce(&mut self) {
        if let Claim::Lease(lease) = &self.claim {
            lease.renounce();
        }
        self.removes = self.mode == Mode::Refresh;
    }
}

impl Claim {
    /// Whether it is a claim to store.
    fn may_store(&self) -> bool {
        match self {
            Claim::First | Claim::Lease(_) | Claim::Replace(_) => true,
            Claim::Nothing | Claim::Lost | Claim::Marked => false,
        }
    }

    /// Returns what storing is guarded by, without a lease.
    pub(super) fn guard(&self) -> Guard {
        match self {
            Claim::Replace(cas) => Guard::Held(*cas),
            Claim::Nothing | Claim::Lost | Claim::Marked | Claim::First | Claim::Lease(_) => Guard::None,
        }
    }
}
