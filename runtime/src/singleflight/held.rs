//! A lease while it is held: its number, its renewals, and how it is given back.
//!
//! Renewals run on the thread of `renewal`. They have no spans, since they happen
//! beside the call that holds the lease and not within it; metrics count them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::task::Waker;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::Announced;
use super::drive::Drive;
use super::pace::Pace;
use super::renewal::{Home, Renewed};
use crate::exchange::{Grant, Guard, NodeBatch, Note, Outcome, Reply, Request, Token, Verb};
use crate::store::Store;
use crate::sync::lock;
use crate::telemetry::exchange::{Exchange, quietly};
use crate::time::budget::Limits;
use crate::time::servant::{survive, wake_all};

/// How long memcached remembers a lease. With less than two seconds, two callers
/// win at times.
pub(crate) const LEASE: Duration = Duration::from_secs(4);
/// How long after the grant the first renewal is due, which shows the waiters
/// that the holder lives.
const FIRST_RENEWAL: Duration = Duration::from_millis(80);
/// How long after that each further renewal is due.
pub(crate) const RENEWAL: Duration = Duration::from_secs(1);
/// How long after the grant or a renewal a lease on a stale value is renewed. No
/// caller waits for it, and now and then another wins it at that moment.
pub(crate) const RENEWAL_OF_STALE: Duration = Duration::from_millis(2_500);
/// A holder whose first renewal is missing after this long is dead, or was never
/// told that it won.
pub(crate) const SILENCE: Duration = Duration::from_secs(1);

/// What the lease is on, which decides how it is renewed and given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// A key without a value.
    Nothing,
    /// A value that may be served, but is due.
    Stale,
    /// A fresh value, which stays as it is.
    Fresh,
}

/// What a lookup has won.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Won {
    pub(crate) cas: u64,
    pub(crate) on: On,
    /// Stands for the bytes of the item; see [`fingerprint`].
    pub(crate) value: u64,
}

/// Stands for the bytes of an item. They hold the nanoseconds that computing
/// took, so another value has others.
pub(crate) fn fingerprint(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Builds the request that gives a lease back.
pub(super) fn giving_back(key: &str, on: On, cas: u64) -> Request<'_> {
    let guard = Guard::Held(cas);
    match on {
        On::Nothing => Request::Delete { key, guard },
        On::Stale | On::Fresh => Request::Invalidate { key, guard, ttl: None },
    }
}

/// A lease and its holder.
pub(super) struct Held {
    pub(super) store: Arc<Store>,
    pub(super) limits: Limits,
    pub(super) key: String,
    /// What waiters in other processes read.
    pub(super) note: Note,
    pub(super) pace: &'static Pace,
    /// The process that renews it. A forked child has only a copy.
    pub(super) process: u32,
    pub(super) since: Instant,
    pub(super) state: Mutex<LeaseState>,
    pub(super) changed: Condvar,
}

/// What changes while a lease is held.
#[derive(Debug)]
pub(super) struct LeaseState {
    pub(super) on: On,
    /// The polls of the computation under way.
    pub(super) drive: Arc<Drive>,
    /// Stands for the bytes of a stale value: what is renewed must be the same.
    pub(super) value: u64,
    /// The item's number, which a renewal changes.
    pub(super) cas: u64,
    pub(super) renewed: Option<Instant>,
    pub(super) phase: Phase,
    /// Of tasks that wait for a renewal to end.
    pub(super) wakers: Vec<Waker>,
    /// Where callers in this process learn the number.
    pub(super) announced: Option<Announced>,
}

/// Where a lease is between its grant and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Held,
    Renewing,
    /// Dropped during a renewal, and given back after it.
    Dropped,
    /// Used or given back.
    Over,
    /// Lost: nothing is stored under it.
    Lost,
}

/// The computation that a lease is held for.
#[derive(Clone)]
pub(crate) struct Job {
    /// The site's.
    pub(crate) pace: &'static Pace,
    /// Its polls.
    pub(crate) drive: Arc<Drive>,
    /// The note that the lease has already, if this process has taken it over.
    pub(crate) note: Option<Note>,
}

impl Held {
    /// Whether a renewal is under way that will say when it is done.
    pub(super) fn is_renewing(&self, state: &LeaseState) -> bool {
        state.phase == Phase::Renewing && self.process == std::process::id()
    }

    /// Ends the lease. Returns the guard to store under; `None` if it was lost or is over,
    /// or if it is being renewed: then it is given back after that.
    pub(super) fn end(&self, state: &mut LeaseState) -> Option<Guard> {
        let (phase, guard) = match state.phase {
            Phase::Renewing if self.is_renewing(state) => (Phase::Dropped, None),
            Phase::Held | Phase::Renewing => (Phase::Over, Some(Guard::Held(state.cas))),
            Phase::Dropped | Phase::Over | Phase::Lost => return None,
        };
        state.phase = phase;
        guard
    }

    /// Ends the lease, which has not been used. Returns what there is to give back now: a
    /// renewal under way sees to that itself.
    pub(super) fn forfeit(&self) -> Option<(On, u64)> {
        let mut state = lock(&self.state);
        let phase = match state.phase {
            Phase::Held => Phase::Over,
            Phase::Renewing => Phase::Dropped,
            Phase::Dropped | Phase::Over | Phase::Lost => return None,
        };
        let was_held = std::mem::replace(&mut state.phase, phase) == Phase::Held;
        (was_held && state.on != On::Fresh).then_some((state.on, state.cas))
    }

    /// Lets the next caller win it.
    pub(super) fn give_back(&self, on: On, cas: u64) {
        // If this gets no answer, the lease ends by itself.
        let _ = self.store.ask(Verb::Delete, &self.giving_back(on, cas), &self.limits.budget());
    }

    /// Builds the request that gives the lease back.
    pub(super) fn giving_back(&self, on: On, cas: u64) -> Request<'_> {
        giving_back(&self.key, on, cas)
    }

    /// Starts its time again under another number; `None` if it was lost.
    fn renewal(&self, on: On, cas: u64, value: u64) -> Option<u64> {
        match on {
            On::Nothing => self.renumbered(self.store.ask(Verb::Touch, &self.renewing(cas), &self.limits.budget())),
            On::Stale | On::Fresh => self.renew_election(cas, value),
        }
    }

    /// Builds the request that renews the lease on a key without a value.
    fn renewing(&self, cas: u64) -> Request<'_> {
        Request::Renew { key: &self.key, cas, note: self.note, lease: LEASE }
    }

    /// Returns the new number, which the reply tells: a lookup would find whatever is there
    /// by then.
    fn renumbered(&self, outcome: Outcome) -> Option<u64> {
        match outcome {
            Ok(Reply::Renewed(cas)) => Some(cas),
            // A server that tells no number: the note tells whose lease it is.
            Ok(Reply::Done) => {
                let look = Request::Lookup { key: &self.key, lease: LEASE, refresh: Duration::ZERO };
                match self.store.ask(Verb::Touch, &look, &self.limits.budget()) {
                    Ok(Reply::Missing(Grant::Lost { cas, note })) if note == Some(self.note) => Some(cas),
                    Ok(Reply::Missing(Grant::Won(cas))) => {
                        self.give_back(On::Nothing, cas);
                        None
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// Gives the election for a stale value up and wins it anew in one go. The
    /// value's time goes on; what is won must be the same value.
    fn renew_election(&self, cas: u64, value: u64) -> Option<u64> {
        let key = self.key.as_str();
        let again = Request::Invalidate { key, guard: Guard::Held(cas), ttl: None };
        let look = Request::Lookup { key, lease: LEASE, refresh: Duration::ZERO };
        let batch = NodeBatch { node: self.store.placement().node_of(key), requests: vec![again, look] };
        let exchange = Exchange::with_several(Verb::Touch, Some(1));
        let replies = self.store.ask_several(Verb::Touch, &exchange, &[batch], &self.limits.budget());
        let replies: Vec<Outcome> = replies.into_iter().flatten().collect();
        exchange.end_all(replies.iter().find_map(|reply| reply.as_ref().err()));
        match &replies[..] {
            [again, Ok(Reply::Found(item))] if item.token == Token::Won => {
                let is_mine = matches!(again, Ok(Reply::Done)) && fingerprint(&item.value) == value;
                if !is_mine {
                    self.give_back(On::Stale, item.cas);
                }
                is_mine.then_some(item.cas)
            }
            // It was deleted, so the look won another, which is not needed.
            [_, Ok(Reply::Missing(Grant::Won(cas)))] => {
                self.give_back(On::Nothing, *cas);
                None
            }
            _ => None,
        }
    }

    /// Returns when the next renewal is due.
    fn due(&self, state: &LeaseState) -> Instant {
        match (state.on, state.renewed) {
            // Waiters that know nothing of the function learn the estimate.
            (On::Nothing, None) if self.note.estimate().is_some_and(|estimate| estimate > FIRST_RENEWAL) => self.since,
            (On::Nothing, None) => self.since + FIRST_RENEWAL,
            (On::Nothing, Some(renewed)) => renewed + RENEWAL,
            (On::Stale | On::Fresh, renewed) => renewed.unwrap_or(self.since) + RENEWAL_OF_STALE,
        }
    }

    /// Returns whether the holder is a future that has not been polled for long. Certainty
    /// takes several looks.
    fn stands_still(&self, state: &LeaseState, now: Instant) -> bool {
        let longest = self.pace.patience().saturating_mul(2).max(FIRST_RENEWAL);
        state.drive.is_late(now, longest) && state.drive.stands_still(now, Duration::ZERO)
    }

    /// Gives back a lease whose holder stands still. Nothing is stored under it.
    fn lose(&self, mut state: MutexGuard<'_, LeaseState>) {
        state.phase = Phase::Lost;
        let (on, cas) = (state.on, state.cas);
        drop(state);
        quietly(|| self.give_back(on, cas));
    }

    /// Takes in the number that a renewal has got; `None` if the lease was lost.
    fn renewed(&self, renewed: Option<u64>) {
        let mut state = lock(&self.state);
        state.renewed = Some(Instant::now());
        if let Some(cas) = renewed {
            state.cas = cas;
            if let Some(announced) = &state.announced {
                announced.renewed(cas);
            }
        }
        let is_dropped = state.phase == Phase::Dropped;
        state.phase = match renewed {
            None => Phase::Lost,
            Some(_) if is_dropped => Phase::Over,
            Some(_) => Phase::Held,
        };
        // The holder may have renounced it meanwhile.
        let (on, wakers) = (state.on, std::mem::take(&mut state.wakers));
        self.changed.notify_all();
        drop(state);
        wake_all(wakers);
        if is_dropped && let Some(cas) = renewed {
            quietly(|| self.give_back(on, cas));
        }
    }
}

impl Renewed for Held {
    fn home(&self) -> Home {
        (Arc::as_ptr(&self.store).addr(), self.store.placement().node_of(&self.key))
    }

    fn is_due(&self) -> bool {
        let (state, now) = (lock(&self.state), Instant::now());
        state.phase == Phase::Held && (now >= self.due(&state) || self.stands_still(&state, now))
    }

    fn begin(&self) -> Option<Request<'_>> {
        let mut state = lock(&self.state);
        let is_simple = state.phase == Phase::Held && state.on == On::Nothing;
        if !is_simple || self.stands_still(&state, Instant::now()) {
            return None;
        }
        state.phase = Phase::Renewing;
        Some(self.renewing(state.cas))
    }

    fn ask(&self, requests: &[Request<'_>]) -> Vec<Outcome> {
        quietly(|| match requests {
            [request] => vec![self.store.ask(Verb::Touch, request, &self.limits.budget())],
            requests => self.store.ask_each(Verb::Touch, requests, &self.limits.budget()),
        })
    }

    fn answered(&self, outcome: Option<Outcome>) {
        let renewed = outcome.and_then(|outcome| survive(|| quietly(|| self.renumbered(outcome))).flatten());
        self.renewed(renewed);
    }

    fn renew(&self) {
        let mut state = lock(&self.state);
        if state.phase != Phase::Held {
            return;
        }
        if self.stands_still(&state, Instant::now()) {
            return self.lose(state);
        }
        state.phase = Phase::Renewing;
        let (on, cas, value) = (state.on, state.cas, state.value);
        drop(state);
        // Whatever happens, the holder must not wait for ever.
        let renewed = survive(|| quietly(|| self.renewal(on, cas, value)));
        self.renewed(renewed.flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::exchange::{ItemLimit, Ttl, Write};
    use crate::singleflight::lease::{Io, Lease};
    use crate::store::embedded::Embedded;
    use crate::time::budget::Budget;
    use crate::time::clock::Clock;

    const KEY: &str = "k";

    fn store() -> Arc<Store> {
        Arc::new(Store::embedded(Embedded::new(1 << 20, ItemLimit::default(), Clock::system())))
    }

    fn limits() -> Limits {
        Limits { total: Duration::from_secs(1), connect: Duration::from_secs(1) }
    }

    /// Looks up as another process does.
    fn look(store: &Store) -> Reply {
        let request = Request::Lookup { key: KEY, lease: LEASE, refresh: Duration::ZERO };
        store.ask(Verb::Get, &request, &limits().budget()).expect("an embedded store")
    }

    /// A lease that this process has held for so long.
    fn held(store: &Arc<Store>, drive: &Arc<Drive>, age: Duration) -> Option<(Lease, Arc<Held>)> {
        static PACE: Pace = Pace::new();
        PACE.ended(Duration::from_millis(5));
        let Reply::Missing(Grant::Won(cas)) = look(store) else { panic!("it is free") };
        let job = Job { pace: &PACE, drive: Arc::clone(drive), note: None };
        let lease = Lease::hold(store, limits(), KEY, Won { cas, on: On::Nothing, value: 0 }, Io::Blocking, job);
        let held = lease.held();
        // A machine that was started a moment ago knows no such time.
        lock(&held.state).renewed = Some(Instant::now().checked_sub(age)?);
        Some((lease, held))
    }

    fn renew_if_due(held: &Held) {
        if held.is_due() {
            held.renew();
        }
    }

    #[test]
    fn a_lease_is_renewed_however_long_computing_takes() {
        let (store, drive) = (store(), Arc::new(Drive::new()));
        for minutes in [11, 90] {
            let Some((lease, held)) = held(&store, &drive, Duration::from_secs(60 * minutes)) else { continue };
            renew_if_due(&held);
            assert!(matches!(look(&store), Reply::Missing(Grant::Lost { note: Some(_), .. })));
            assert!(lease.end(&limits().budget()).is_some(), "it still entitles to store");
            lease.abandon();
            store
                .ask(Verb::Delete, &Request::Delete { key: KEY, guard: Guard::None }, &limits().budget())
                .expect("gone");
        }
    }

    #[test]
    fn a_stale_value_that_is_renounced_during_a_renewal_is_removed() {
        static PACE: Pace = Pace::new();
        let (store, drive) = (store(), Arc::new(Drive::new()));
        let (ttl, how, guard) = (Ttl::Forever, Write::Set, Guard::None);
        for request in [
            Request::Store { key: KEY, value: b"old", flags: 1, ttl, how, guard },
            Request::Invalidate { key: KEY, guard, ttl: None },
        ] {
            store.ask(Verb::Set, &request, &limits().budget()).expect("an embedded store");
        }
        let Reply::Found(item) = look(&store) else { panic!("it is there") };
        let won = Won { cas: item.cas, on: On::Stale, value: fingerprint(&item.value) };
        let job = Job { pace: &PACE, drive, note: None };
        let lease = Lease::hold(&store, limits(), KEY, won, Io::Blocking, job);
        let held = lease.held();
        lock(&held.state).phase = Phase::Renewing;
        let number = held.renewal(won.on, won.cas, won.value);
        assert!(number.is_some());
        // The holder has computed that there is no value.
        lease.renounce();
        drop(lease);
        held.renewed(number);
        assert!(matches!(look(&store), Reply::Missing(Grant::Won(_))));
    }

    /// What may happen between a renewal, of which the server tells no number, and the
    /// look for it.
    #[test]
    fn a_lease_that_another_has_won_is_not_taken_for_the_renewed_one() {
        let (store, drive) = (store(), Arc::new(Drive::new()));
        let (lease, held) = held(&store, &drive, Duration::ZERO).expect("the present");
        let ask = |request: Request<'_>| store.ask(request.verb(), &request, &limits().budget()).expect("a reply");
        ask(Request::Delete { key: KEY, guard: Guard::None });
        let Reply::Missing(Grant::Won(cas)) = look(&store) else { panic!("it is free") };
        assert_eq!(held.renumbered(Ok(Reply::Done)), None);
        // Renewed by its holder, it has a note.
        let note = Note::of(held.note.flags() ^ 1).expect("another's");
        let Reply::Renewed(cas) = ask(Request::Renew { key: KEY, cas, note, lease: LEASE }) else { panic!("it is") };
        assert_eq!(held.renumbered(Ok(Reply::Done)), None);
        let Reply::Missing(Grant::Lost { cas: now, .. }) = look(&store) else { panic!("it is another's") };
        assert_eq!(now, cas, "which stays");
        drop(lease);
    }

    #[test]
    fn nothing_is_stored_under_a_lease_whose_renewal_had_no_answer() {
        let (store, drive) = (store(), Arc::new(Drive::new()));
        let late = Err(Error::new(ErrorKind::Timeout, "on purpose"));
        for outcome in [Some(late), Some(Ok(Reply::Absent)), None] {
            let (lease, held) = held(&store, &drive, Duration::ZERO).expect("the present");
            assert!(held.begin().is_some());
            held.answered(outcome);
            assert_eq!(lease.end(&limits().budget()), None);
            let request = Request::Delete { key: KEY, guard: Guard::None };
            store.ask(Verb::Delete, &request, &limits().budget()).expect("an embedded store");
        }
    }

    /// Begins a renewal, of which the answer comes once this holder has ended the lease.
    fn ends_during_a_renewal(end: impl FnOnce(Lease, Budget) -> Option<Guard> + Send) {
        const LIMIT: Duration = Duration::from_millis(30);
        let (store, drive) = (store(), Arc::new(Drive::new()));
        let (lease, held) = held(&store, &drive, Duration::ZERO).expect("the present");
        let request = held.begin().expect("it is held");
        let answer = store.ask(request.verb(), &request, &limits().budget());
        let (tell, told) = std::sync::mpsc::channel();
        let ended = std::thread::scope(|scope| {
            scope.spawn(move || tell.send(end(lease, Budget::new(LIMIT, LIMIT))));
            let ended = told.recv_timeout(Duration::from_secs(10));
            held.answered(Some(answer));
            ended
        });
        assert_eq!(ended, Ok(None), "nothing is stored, and nothing waited for");
        assert!(matches!(look(&store), Reply::Missing(Grant::Won(_))), "it is given back");
    }

    #[test]
    fn a_renewal_is_waited_for_no_longer_than_the_call_has_time() {
        ends_during_a_renewal(|lease, budget| {
            let guard = lease.end(&budget);
            assert_eq!(budget.deadline().left(), None, "which is spent");
            guard
        });
    }

    #[cfg(all(feature = "servers", feature = "tokio"))]
    #[test]
    fn a_renewal_is_waited_for_no_longer_than_the_async_call_has_time() {
        ends_during_a_renewal(|lease, budget| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
            let guard = runtime.block_on(lease.end_async(&budget));
            assert_eq!(budget.deadline().left(), None, "which is spent");
            guard
        });
    }

    #[cfg(feature = "tokio")]
    #[test]
    fn a_holder_that_is_woken_and_not_polled_gives_its_lease_back() {
        let (store, drive) = (store(), Arc::new(Drive::new()));
        let (lease, held) = held(&store, &drive, Duration::ZERO).expect("the present");
        let held_on = || matches!(look(&store), Reply::Missing(Grant::Lost { .. }));
        // It waits for something, and is not woken yet.
        std::thread::sleep(Duration::from_millis(250));
        renew_if_due(&held);
        assert!(held_on());
        drive.woken();
        renew_if_due(&held);
        assert!(held_on());
        // Without a runtime it takes so long to be sure.
        std::thread::sleep(Duration::from_millis(250));
        renew_if_due(&held);
        assert!(matches!(look(&store), Reply::Missing(Grant::Won(_))));
        assert_eq!(lease.end(&limits().budget()), None, "nothing is stored under it");
    }
}
