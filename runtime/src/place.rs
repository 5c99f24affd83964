//! What to do next, decided from what has come back: the one place that fails
//! open, waits and serves what is stale.
//!
//! A [`Place`] knows everything about a call but its value's type. It says what
//! to wait for and takes what comes; `call` does the waiting, blocking or not.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::aside::Aside;
#[cfg(feature = "tokio")]
use crate::background::Resolute;
use crate::budget::Budget;
use crate::cache::Cache;
use crate::envelope::Refusal;
use crate::error::{Error, ErrorKind};
use crate::exchange::{self, Guard, Item, Outcome, Reply, Request, Token, Ttl, Write};
use crate::flight::{Course, Lead, Part, Waited, Waiter};
use crate::key::Key;
use crate::lease::{LEASE, Lease, On, SILENCE, Waiting};
use crate::mode::Mode;
use crate::near::{Holds, Since};
use crate::record::{self, Record};
#[cfg(feature = "tokio")]
use crate::telemetry;
use crate::telemetry::memo::{CallSpan, Due, MissReason, Wait};
use crate::terms::{Age, Ahead, SingleFlight, Terms, is_early};

/// Where a call's value belongs, and what this call may do there.
pub(crate) struct Place {
    pub(crate) cache: Cache,
    pub(crate) key: Key,
    pub(crate) terms: Terms,
    mode: Mode,
    pub(crate) budget: Budget,
    pub(crate) waiting: Waiting,
    /// Where another version's value is under the key.
    aside: Option<Aside>,
    claim: Claim,
    /// This call's part in a flight, if it computes for others too.
    lead: Option<Lead<Lease>>,
    next: Next,
    /// Of the near tier, before the value was looked for.
    since: Since,
    /// The process that is waited for, if one is.
    holder: Option<Holder>,
}

/// What the lookup has entitled this call to.
#[derive(Debug)]
enum Claim {
    /// To nothing: there is nowhere to store.
    Nothing,
    /// To nothing: another call stores.
    Lost,
    /// To store if nobody else has by then: the server knows no leases.
    First,
    /// To store under a lease.
    Lease(Lease),
    /// To replace the item with this number, which is of no use.
    Replace(u64),
}

/// What the call has to wait for next.
enum Next {
    Ask,
    /// Until another process may have stored.
    Pause(Duration),
    /// To be elected for computing a value anew that is fresh for so long.
    Elect(Duration),
    /// Has others elected for the stale item with this number, then asks.
    Reopen(u64),
    Join(Waiter<Lease>),
}

/// What has been waited for.
pub(crate) enum Arrival {
    Reply(Outcome),
    /// The answer to whether this call computes a fresh value anew.
    Election(Outcome),
    Waited(Waited<Lease>),
    /// The cache cannot be asked, and that is no answer to the caller.
    GoOn,
}

/// What a call does next.
pub(crate) enum Verdict {
    /// Uses the value that was opened last.
    Use,
    /// Computes a new value for the one that was opened last.
    Refresh(Due),
    Compute,
    /// Waits for what [`Place`] says.
    Wait,
}

/// Stored bytes that are a return value.
pub(crate) struct Opened {
    /// What it took to compute, in nanoseconds.
    pub(crate) cost: u64,
    /// It is one without a value, and has a time of its own.
    pub(crate) negative: bool,
}

/// Opens stored bytes with these flags.
type Open<'a> = dyn FnMut(&[u8], u32) -> Result<Opened, Refusal> + 'a;

/// What is to be done with an encoded value.
pub(crate) struct Packing {
    record: Arc<Record>,
    ttl: Ttl,
    /// How long to keep it in this process, and as what.
    near: Option<(Duration, Holds)>,
    stores: bool,
}

/// Another process that holds the lease, as far as it can be seen.
struct Holder {
    since: Instant,
    cas: u64,
    /// Since when the lease has had this number.
    unchanged: Instant,
    wait: Wait,
}

impl Holder {
    fn seen(cas: u64, wait: Wait) -> Self {
        let now = Instant::now();
        Holder { since: now, cas, unchanged: now, wait }
    }

    /// Whether it is still at it: who is renews the lease, which changes its
    /// number.
    fn lives(&mut self, cas: u64, renewed: bool) -> bool {
        if cas != self.cas {
            (self.cas, self.unchanged) = (cas, Instant::now());
        }
        self.unchanged.elapsed() < if renewed { LEASE } else { SILENCE }
    }
}

/// A leader that takes less is waited for this long all the same.
const PATIENCE: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

impl Place {
    pub(crate) fn new(cache: Cache, key: Key, terms: Terms, mode: Mode) -> Self {
        let budget = cache.budget();
        Place {
            cache,
            key,
            terms,
            mode,
            budget,
            waiting: Waiting::Blocking,
            aside: None,
            claim: Claim::Nothing,
            lead: None,
            next: Next::Ask,
            since: Since::default(),
            holder: None,
        }
    }

    /// Begins to look for the value; where it is kept in this process, for all
    /// callers at once.
    pub(crate) fn begin(&mut self, waiting: Waiting, span: &CallSpan) {
        self.waiting = waiting;
        if self.terms.near.is_none() {
            return;
        }
        self.since = self.cache.near().since(self.key.wire());
        if self.coordinates() {
            match self.join(None, span) {
                Part::Wait(waiter) => self.next = Next::Join(waiter),
                Part::Lead(lead) => self.lead = Some(lead),
                Part::None => {}
            }
        }
    }

    /// Waits for what is next, blocking.
    pub(crate) fn wait(&mut self, span: &CallSpan) -> Arrival {
        let next = std::mem::replace(&mut self.next, Next::Ask);
        match next {
            Next::Ask => {}
            Next::Pause(pause) => std::thread::sleep(pause),
            Next::Elect(left) => return Arrival::Election(self.ask(self.election(left))),
            Next::Reopen(cas) => drop(self.ask(self.reopening(cas))),
            Next::Join(waiter) => {
                span.follows(waiter.leader());
                let _wait = span.wait();
                return Arrival::Waited(waiter.wait());
            }
        }
        let _polls = self.holder.as_ref().map(|holder| holder.wait.enter());
        Arrival::Reply(self.ask(self.lookup()))
    }

    fn ask(&self, request: Request<'_>) -> Outcome {
        self.cache.store().ask(request.verb(), &request, &self.budget)
    }

    /// As [`Place::wait`], yielding.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_async(&mut self, span: &CallSpan) -> Arrival {
        let next = std::mem::replace(&mut self.next, Next::Ask);
        match next {
            Next::Ask => {}
            Next::Pause(pause) => crate::alarm::sleep(pause).await,
            Next::Elect(left) => return Arrival::Election(self.look_up(self.election(left)).await),
            Next::Reopen(cas) => drop(self.ask_async(self.reopening(cas)).await),
            Next::Join(waiter) => {
                span.follows(waiter.leader());
                let _wait = span.wait();
                return Arrival::Waited(waiter.wait_async().await);
            }
        }
        let polls = self.holder.as_ref().map_or_else(Wait::none, |holder| holder.wait.clone());
        Arrival::Reply(polls.within(self.look_up(self.lookup())).await)
    }

    /// A lookup that is dropped must not leave a lease with nobody: its reply is
    /// waited for in the background.
    #[cfg(feature = "tokio")]
    async fn look_up(&self, request: Request<'_>) -> Outcome {
        let Request::Lookup { key, lease, refresh } = request else { return self.ask_async(request).await };
        if !self.cache.store().is_remote() {
            return self.ask_async(request).await;
        }
        let (cache, key, budget) = (self.cache.clone(), key.to_owned(), self.budget.lend());
        let terms = self.terms;
        let work = async move {
            let request = Request::Lookup { key: &key, lease, refresh };
            let outcome = cache.store().ask_async(request.verb(), &request, &budget).await;
            Looked { outcome, cache, key, budget, terms }
        };
        let looked = Resolute::new(work, |work| {
            crate::background::run(telemetry::within_current(async { work.await.forsake() }));
        });
        let Looked { outcome, budget, .. } = looked.await;
        self.budget.become_of(&budget);
        outcome
    }

    #[cfg(feature = "tokio")]
    async fn ask_async(&self, request: Request<'_>) -> Outcome {
        self.cache.store().ask_async(request.verb(), &request, &self.budget).await
    }

    /// What the store is asked for.
    fn slot(&self) -> &str {
        self.aside.as_ref().map_or(self.key.wire(), Aside::key)
    }

    /// Asks for the value, or for the lease to compute it.
    fn lookup(&self) -> Request<'_> {
        let key = self.slot();
        if self.mode == Mode::ReadOnly {
            return Request::Peek { key };
        }
        Request::Lookup { key, lease: LEASE, refresh: self.terms.refresh_window() }
    }

    /// Asks for the lease on a value that is fresh for so long.
    fn election(&self, left: Duration) -> Request<'_> {
        let refresh = self.terms.grace.saturating_add(left).saturating_add(Duration::from_secs(1));
        Request::Lookup { key: self.slot(), lease: LEASE, refresh }
    }

    fn reopening(&self, cas: u64) -> Request<'_> {
        Request::Invalidate { key: self.slot(), guard: Guard::Unchanged(cas), ttl: None }
    }

    /// Decides what follows from `arrival`; `open` opens what was found.
    ///
    /// # Errors
    ///
    /// If the cache could not be asked.
    pub(crate) fn judge(&mut self, arrival: Arrival, open: &mut Open<'_>, span: &CallSpan) -> Result<Verdict, Error> {
        let verdict = match arrival {
            Arrival::Reply(Ok(Reply::Found(item))) => self.found(item, open, false, span),
            Arrival::Election(Ok(Reply::Found(item))) => self.found(item, open, true, span),
            Arrival::Reply(Ok(reply)) | Arrival::Election(Ok(reply)) => self.missing(&reply, span),
            Arrival::Reply(Err(error)) | Arrival::Election(Err(error)) => {
                span.unavailable(&error);
                return Err(error);
            }
            Arrival::Waited(waited) => self.waited(waited, open, span),
            Arrival::GoOn => self.compute_with_others(None, MissReason::Unavailable, span),
        };
        if !matches!(verdict, Verdict::Wait) {
            self.holder = None;
        }
        Ok(verdict)
    }

    fn missing(&mut self, reply: &Reply, span: &CallSpan) -> Verdict {
        let reason = if self.aside.is_some() { MissReason::Schema } else { MissReason::Absent };
        match reply {
            Reply::Missing(exchange::Lease::Won(cas)) => {
                self.won(*cas, On::Nothing, span);
                self.compute(reason, span)
            }
            Reply::Missing(exchange::Lease::Lost { cas, renewed }) => self.lost(*cas, *renewed, reason, span),
            _ => {
                self.claim(Claim::First);
                self.compute_with_others(None, reason, span)
            }
        }
    }

    /// Something is stored.
    fn found(&mut self, item: Item, open: &mut Open<'_>, elected: bool, span: &CallSpan) -> Verdict {
        if self.mode == Mode::Refresh {
            self.replace(&item, span);
            return self.compute(MissReason::Refresh, span);
        }
        let item = match self.released(item) {
            Ok(item) => item,
            // What it stood beside is gone, and so it counts no more.
            Err(item) => {
                self.replace(&item, span);
                return self.compute_with_others(Some(item.cas), MissReason::Schema, span);
            }
        };
        let opened = match span.try_deserialize(|| open(&item.value, item.flags)) {
            Ok(opened) => opened,
            Err(Refusal::OtherVersion { mark }) if self.leaves(&item) => {
                self.aside = Some(Aside::of(self.key.wire(), mark, &item));
                // Who was waited for has stored what was found.
                self.holder = None;
                return Verdict::Wait;
            }
            Err(refusal) => {
                let reason = match refusal {
                    Refusal::Foreign | Refusal::OtherVersion { .. } => MissReason::Schema,
                    Refusal::Corrupt => {
                        span.undecodable();
                        MissReason::DecodeError
                    }
                };
                self.replace(&item, span);
                return self.compute_with_others(Some(item.cas), reason, span);
            }
        };
        self.show(&item.value, item.flags, span);
        match self.age(&item, &opened) {
            Age::Fresh(left) => match item.token {
                Token::Won if !opened.negative => {
                    self.won(item.cas, On::Fresh, span);
                    due(MissReason::Refresh, &item, &opened)
                }
                _ if !elected && self.is_early(left, &opened) => {
                    self.next = Next::Elect(Duration::from_secs(left.unwrap_or(0)));
                    Verdict::Wait
                }
                _ => self.hit(item, &opened, left, span),
            },
            Age::Stale => match item.token {
                Token::Won => {
                    self.won(item.cas, On::Stale, span);
                    due(MissReason::Expired, &item, &opened)
                }
                Token::Lost if self.cache.vigil().is_dead(self.slot(), item.cas, LEASE) => {
                    self.next = Next::Reopen(item.cas);
                    Verdict::Wait
                }
                _ => {
                    span.stale(item.value.len(), opened.cost);
                    self.land(Some(Arc::new(record(item))));
                    Verdict::Use
                }
            },
            Age::Dead => match item.token {
                Token::Won => {
                    self.won(item.cas, On::Stale, span);
                    self.compute(MissReason::Expired, span)
                }
                Token::Lost => self.lost(item.cas, true, MissReason::Expired, span),
                Token::None => {
                    self.claim(Claim::Replace(item.cas));
                    self.compute_with_others(Some(item.cas), MissReason::Expired, span)
                }
            },
        }
    }

    /// Has the span show what is stored, if that is wanted.
    fn show(&self, bytes: &[u8], flags: u32, span: &CallSpan) {
        if self.cache.records_values() {
            span.value(&record::shown(bytes, flags));
        }
    }

    /// The item as this version has stored it.
    fn released(&self, item: Item) -> Result<Item, Item> {
        match &self.aside {
            Some(aside) => aside.released(item),
            None => Ok(item),
        }
    }

    /// Whether another version's item is left where it is. One that this call
    /// is the one to write anew is not, nor one that has no number to be told
    /// by.
    fn leaves(&self, item: &Item) -> bool {
        self.aside.is_none() && item.token != Token::Won && item.cas != 0
    }

    /// One without a value has no grace behind its time.
    fn age(&self, item: &Item, opened: &Opened) -> Age {
        match self.terms.age(item) {
            Age::Stale if opened.negative && !item.stale => Age::Fresh(item.seconds_left),
            Age::Stale if opened.negative => Age::Dead,
            age => age,
        }
    }

    fn is_early(&self, left: Option<u64>, opened: &Opened) -> bool {
        let (Ahead::Auto, Some(left), false) = (self.terms.ahead, left, opened.negative) else { return false };
        let chance = self.cache.chance().draw(self.key.wire());
        self.mode == Mode::Normal && is_early(Duration::from_nanos(opened.cost), Duration::from_secs(left), chance)
    }

    fn hit(&mut self, item: Item, opened: &Opened, left: Option<u64>, span: &CallSpan) -> Verdict {
        if self.holder.is_some() {
            span.coalesced(item.value.len());
        } else {
            span.hit(item.value.len(), opened.cost);
        }
        let near = self.terms.near.filter(|_| self.mode == Mode::Normal);
        if near.is_none() && self.lead.is_none() {
            return Verdict::Use;
        }
        let record = Arc::new(record(item));
        if let (Some(near), Some(left)) = (near, left) {
            // The second that is under way may be over.
            let left = Duration::from_secs(left.saturating_sub(1));
            let holds = if opened.negative { Holds::Nothing } else { Holds::Value };
            self.cache.near().keep(self.key.wire(), Arc::clone(&record), holds, near.min(left), self.since);
        }
        self.land(Some(record));
        Verdict::Use
    }

    /// This call is the one to store.
    fn won(&mut self, cas: u64, on: On, span: &CallSpan) {
        let number = self.flight_of(cas);
        if let Some(lead) = &self.lead {
            lead.is_under(number);
        } else if self.coordinates() {
            let flights = self.cache.flights();
            self.lead = Some(flights.lead(self.key.wire(), Some(number), patience(span), span.id()));
        }
        let lease = Lease::hold(&self.cache, self.slot(), cas, on, self.waiting);
        if let Some(lead) = &self.lead {
            lease.tells(lead.number(), cas ^ number);
        }
        self.claim(Claim::Lease(lease));
    }

    fn replace(&mut self, item: &Item, span: &CallSpan) {
        match item.token {
            Token::Won => self.won(item.cas, if item.stale { On::Stale } else { On::Fresh }, span),
            Token::None | Token::Lost => self.claim(Claim::Replace(item.cas)),
        }
    }

    /// Another call computes, under the lease with this number.
    fn lost(&mut self, cas: u64, renewed: bool, reason: MissReason, span: &CallSpan) -> Verdict {
        self.claim(Claim::Lost);
        if self.lead.is_none() {
            if !self.coordinates() {
                return self.compute(reason, span);
            }
            match self.join(Some(cas), span) {
                Part::Wait(waiter) => {
                    self.next = Next::Join(waiter);
                    return Verdict::Wait;
                }
                Part::Lead(lead) => self.lead = Some(lead),
                Part::None => return self.compute(reason, span),
            }
        }
        if let Some(lead) = &self.lead {
            lead.is_under(self.flight_of(cas));
        }
        // In another process, which is asked about now and then.
        let holder = self.holder.get_or_insert_with(|| Holder::seen(cas, span.wait()));
        let waited = holder.since.elapsed();
        if self.terms.single_flight != SingleFlight::Lease || !holder.lives(cas, renewed) || waited >= patience(span) {
            return self.compute(reason, span);
        }
        self.next = Next::Pause((waited / 8).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
        Verdict::Wait
    }

    /// Waiting for a flight has come to this.
    fn waited(&mut self, waited: Waited<Lease>, open: &mut Open<'_>, span: &CallSpan) -> Verdict {
        match waited {
            Waited::Landed(Some(record)) => match span.try_deserialize(|| open(&record.bytes, record.flags)) {
                Ok(_) => {
                    self.show(&record.bytes, record.flags, span);
                    span.coalesced(record.bytes.len());
                    Verdict::Use
                }
                Err(_) => self.compute(MissReason::Schema, span),
            },
            Waited::Landed(None) | Waited::InCircle => self.compute(MissReason::Absent, span),
            Waited::Succeeds(lead, Some(lease)) if lease.is_for(self.slot()) => {
                self.lead = Some(lead);
                self.claim(Claim::Lease(lease));
                self.compute(MissReason::Absent, span)
            }
            // Whoever led was only looking for the value, or could not, or had
            // another place for it.
            Waited::Succeeds(lead, _) => {
                self.lead = Some(lead);
                Verdict::Wait
            }
            Waited::Overtakes(lead) => {
                self.lead = Some(lead);
                self.compute(MissReason::Absent, span)
            }
        }
    }

    /// Computes, unless another caller in this process does.
    fn compute_with_others(&mut self, lease: Option<u64>, reason: MissReason, span: &CallSpan) -> Verdict {
        if self.lead.is_none() && self.coordinates() {
            match self.join(lease, span) {
                Part::Wait(waiter) => {
                    self.next = Next::Join(waiter);
                    return Verdict::Wait;
                }
                Part::Lead(lead) => self.lead = Some(lead),
                Part::None => {}
            }
        }
        self.compute(reason, span)
    }

    fn compute(&mut self, reason: MissReason, span: &CallSpan) -> Verdict {
        span.miss(reason);
        Verdict::Compute
    }

    fn join(&self, lease: Option<u64>, span: &CallSpan) -> Part<Lease> {
        let lease = lease.map(|cas| self.flight_of(cas));
        self.cache.flights().join(self.key.wire(), lease, patience(span), span.id())
    }

    /// What tells this process the flight under the lease with this number.
    fn flight_of(&self, cas: u64) -> u64 {
        self.aside.as_ref().map_or(cas, |aside| aside.lease(cas))
    }

    /// Whether callers in this process wait for one of them.
    fn coordinates(&self) -> bool {
        self.mode == Mode::Normal && self.terms.single_flight != SingleFlight::Off
    }

    fn claim(&mut self, claim: Claim) {
        self.claim = if self.mode == Mode::ReadOnly { Claim::Nothing } else { claim };
    }

    /// What is computed for others is computed on this course.
    pub(crate) fn course(&self) -> Option<Course> {
        self.lead.as_ref().map(Lead::course)
    }

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

    /// Has nobody in this process use what was found or computed before now.
    pub(crate) fn forget(&self) {
        self.cache.near().forget(self.key.wire());
        self.cache.flights().detach(self.key.wire());
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
                Resolute::new(work, |work| crate::background::run(telemetry::within_current(work))).await;
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
                crate::background::run(telemetry::within_current(work));
            }
            packing => self.settle(packing, span),
        }
    }

    /// Stores, blocking, and hands the value to those who wait for it.
    fn keep(&mut self, packing: &Packing, span: &CallSpan) {
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

    /// Has others go on with what has been found or computed, or alone.
    fn land(&mut self, record: Option<Arc<Record>>) {
        if let Some(lead) = self.lead.take() {
            lead.land(record);
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

/// A lookup that has come to its end.
#[cfg(feature = "tokio")]
struct Looked {
    outcome: Outcome,
    cache: Cache,
    key: String,
    budget: Budget,
    terms: Terms,
}

#[cfg(feature = "tokio")]
impl Looked {
    /// Gives back what the lookup has won, for nobody wants it any longer.
    fn forsake(self) {
        let won = match &self.outcome {
            Ok(Reply::Missing(exchange::Lease::Won(cas))) => Some((*cas, On::Nothing)),
            Ok(Reply::Found(item)) if item.token == Token::Won => match self.terms.age(item) {
                Age::Fresh(_) => None,
                Age::Stale | Age::Dead => Some((item.cas, On::Stale)),
            },
            _ => None,
        };
        if let Some((cas, on)) = won {
            drop(Lease::hold(&self.cache, &self.key, cas, on, Waiting::Async));
        }
    }
}

fn due(reason: MissReason, item: &Item, opened: &Opened) -> Verdict {
    Verdict::Refresh(Due { reason, size: item.value.len(), cost: opened.cost })
}

fn record(item: Item) -> Record {
    Record { bytes: item.value, flags: item.flags }
}

/// Several times what computing takes, as far as that is known.
fn patience(span: &CallSpan) -> Duration {
    span.longest_computation().map_or(PATIENCE, |longest| longest.saturating_mul(4).max(PATIENCE))
}

/// A call that ends without having computed passes its part on: its lease to
/// one of those who wait, or back to the server. After a panic, they go on
/// alone.
impl Drop for Place {
    fn drop(&mut self) {
        let claim = std::mem::replace(&mut self.claim, Claim::Nothing);
        let Some(lead) = self.lead.take() else { return };
        if std::thread::panicking() {
            return lead.land(None);
        }
        lead.pass_on(match claim {
            Claim::Lease(lease) => Some(lease),
            _ => None,
        });
    }
}
