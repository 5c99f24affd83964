//! A store in this process with memcached's semantics: the default when no servers
//! are configured, and the store for tests of memoized functions.
//!
//! It is bounded by bytes and has real expiry, CAS numbers and leases. It shares
//! nothing with other processes and performs no I/O.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::bounded::{Bounded, Weighed};
use crate::error::{Error, ErrorKind};
use crate::exchange::{Direction, Grant, Guard, Item, ItemLimit, Note, Outcome, Reply, Request, Token, Ttl, Write};
#[cfg(feature = "testing")]
use crate::store::faults::{Faults, StoreFault};
use crate::sync::{lock, share_of};
use crate::time::clock::Clock;

const STRIPES: usize = 64;

/// The embedded store.
#[derive(Debug)]
pub(crate) struct Embedded {
    items: Bounded<Slot>,
    /// Locks that serialize the writers of a key. Readers rely on the map's own.
    stripes: [Mutex<()>; STRIPES],
    next_cas: AtomicU64,
    limit: ItemLimit,
    clock: Clock,
    #[cfg(feature = "testing")]
    pub(super) faults: Faults,
    #[cfg(all(test, feature = "tokio"))]
    pub(crate) network: crate::tests::network::Network,
}

/// An item, or a lease without a value.
#[derive(Clone, Debug)]
struct Slot {
    /// `None` while the holder of a lease computes.
    value: Option<Arc<[u8]>>,
    flags: u32,
    cas: u64,
    expires: Option<Instant>,
    stale: bool,
    /// A caller has won it and may store.
    taken: bool,
}

impl Weighed for Slot {
    fn weight(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.len())
    }
}

impl Embedded {
    /// Creates a store that holds about `capacity` bytes, in items up to the limit.
    pub(crate) fn new(capacity: u64, limit: ItemLimit, clock: Clock) -> Self {
        Embedded {
            items: Bounded::new(limit.0, capacity),
            stripes: std::array::from_fn(|_| Mutex::new(())),
            next_cas: AtomicU64::new(1),
            limit,
            clock,
            #[cfg(feature = "testing")]
            faults: Faults::none(),
            #[cfg(all(test, feature = "tokio"))]
            network: Default::default(),
        }
    }

    /// Answers a request as memcached would.
    pub(crate) fn ask(&self, request: &Request<'_>) -> Outcome {
        request.check(self.limit)?;
        #[cfg(feature = "testing")]
        if let Some(outcome) = self.faulty(request) {
            return outcome;
        }
        self.answer(request)
    }

    /// Answers a request as a faulty store would; `None` if it is not concerned.
    #[cfg(feature = "testing")]
    fn faulty(&self, request: &Request<'_>) -> Option<Outcome> {
        if self.faults.evicts() {
            self.items.drain().for_each(drop);
        }
        let Request::Store { key, how, .. } = *request else { return None };
        match self.faults.now() {
            StoreFault::Full => {
                // As in memcached, which keeps nothing that was to be replaced.
                if how == Write::Set {
                    self.locked(key, |_| {
                        self.items.remove(key);
                        Reply::Done
                    });
                }
                Some(Err(Error::new(ErrorKind::Server, "the embedded store reported an error of its own: it is full")))
            }
            StoreFault::DropsWrites => {
                let outcome = self.answer(request);
                if matches!(outcome, Ok(Reply::Done)) {
                    self.locked(key, |_| {
                        self.items.remove(key);
                        Reply::Done
                    });
                }
                Some(outcome)
            }
            StoreFault::None | StoreFault::Down | StoreFault::Slow(_) => None,
        }
    }

    fn answer(&self, request: &Request<'_>) -> Outcome {
        Ok(match *request {
            Request::Lookup { key, lease, refresh } => self.look_up(key, lease, refresh),
            Request::Peek { key } => self.peek(key),
            Request::Get { key } => self.find(key).unwrap_or(Reply::Missing(Grant::Free)),
            Request::PeekMany { keys } => {
                // As in the classic protocol, which has no stale items.
                let found = |key| match self.found(Slot { stale: false, ..self.live(key)? }, Token::None)? {
                    Reply::Found(item) => Some((key, item)),
                    _ => None,
                };
                Reply::FoundMany(keys.iter().filter_map(found).collect())
            }
            Request::GetAndTouch { key, ttl } => match self.touch(key, ttl) {
                Reply::Done => self.find(key).unwrap_or(Reply::Missing(Grant::Free)),
                _ => Reply::Missing(Grant::Free),
            },
            Request::Touch { key, ttl } => {
                let touched = self.touch(key, ttl);
                // memcached counts a touch as a read.
                self.find(key);
                touched
            }
            Request::Store { key, value, flags, ttl, how, guard } => {
                // As memcached has it: an empty item with a note is a renewed lease.
                let slot = match (Note::of(flags), value) {
                    (Some(_), []) => Slot { flags, taken: true, ..self.lease(ttl) },
                    _ => Slot { flags, ..Slot::new(Some(value.into()), self.expiry(ttl)) },
                };
                self.locked(key, |current| self.store(key, slot, how, guard, current))
            }
            Request::Renew { key, cas, note, lease } => {
                let slot = Slot { flags: note.flags(), taken: true, ..self.lease(Ttl::For(lease)) };
                self.locked(key, |current| match guarded(current.as_ref(), Guard::Unchanged(cas)) {
                    Ok(()) => Reply::Renewed(self.put(key, slot)),
                    Err(refused) => refused,
                })
            }
            Request::Delete { key, guard } => self.locked(key, |current| match guarded(current.as_ref(), guard) {
                Ok(()) => {
                    self.items.remove(key);
                    Reply::Done
                }
                Err(refused) => refused,
            }),
            Request::Invalidate { key, guard, ttl } => {
                self.locked(key, |current| self.invalidate(key, guard, ttl, current))
            }
            Request::Count { key, by, direction } => {
                self.locked(key, |current| self.count(key, by, direction, current).unwrap_or(Reply::NotStored))
            }
            Request::Stats { .. } => Reply::Counters(vec![
                ("curr_items".into(), self.items.len().to_string()),
                ("bytes".into(), self.items.weight().to_string()),
                ("limit_maxbytes".into(), self.items.capacity().to_string()),
            ]),
            Request::Version => Reply::Text(env!("CARGO_PKG_VERSION").into()),
            Request::FlushAll { delay: Duration::ZERO } => {
                self.items.drain().for_each(drop);
                Reply::Done
            }
            Request::Servers | Request::FlushAll { .. } | Request::MemoryLimit { .. } => {
                let message = format!("the embedded store does not support this kind of `{}`", request.verb().as_str());
                return Err(Error::new(ErrorKind::Rejected, message));
            }
        })
        .and_then(|reply| match (request, reply) {
            (Request::Count { .. }, Reply::NotStored) => {
                Err(Error::new(ErrorKind::NotANumber, "the embedded store holds a value that is not a number (count)"))
            }
            (_, reply) => Ok(reply),
        })
    }

    /// Reads an item. As in memcached, the first reader of a stale item wins it and
    /// may refresh it.
    fn find(&self, key: &str) -> Option<Reply> {
        let slot = self.live(key)?;
        if slot.stale && !slot.taken {
            return Some(self.locked(key, |current| match self.take(key, current, Duration::ZERO) {
                Some(slot) => self.found(slot, Token::Won).unwrap_or(Reply::Missing(Grant::Free)),
                None => self.live(key).and_then(|slot| self.found_as_is(slot)).unwrap_or(Reply::Missing(Grant::Free)),
            }));
        }
        self.found_as_is(slot)
    }

    /// Reads an item, or which lease there is.
    fn peek(&self, key: &str) -> Reply {
        match (self.find(key), self.live(key)) {
            (Some(Reply::Found(item)), _) => Reply::Found(item),
            (_, Some(Slot { value: None, flags, cas, .. })) => {
                Reply::Missing(Grant::Lost { cas, note: Note::of(flags) })
            }
            _ => Reply::Missing(Grant::Free),
        }
    }

    fn found_as_is(&self, slot: Slot) -> Option<Reply> {
        let token = if slot.taken { Token::Lost } else { Token::None };
        self.found(slot, token)
    }

    fn found(&self, slot: Slot, token: Token) -> Option<Reply> {
        // Rounded up, as in memcached.
        let left = self.time_left(&slot).and_then(|left| Ttl::For(left).seconds());
        let Slot { value, flags, cas, stale, .. } = slot;
        Some(Reply::Found(Item { value: value?.to_vec(), flags, cas, seconds_left: left, stale, token }))
    }

    fn look_up(&self, key: &str, lease: Duration, refresh: Duration) -> Reply {
        // Most lookups find a fresh item and need no lock.
        if let Some(slot) = self.live(key)
            && !self.is_due(&slot, refresh)
            && let Some(reply) = self.found_as_is(slot)
        {
            return reply;
        }
        self.locked(key, |current| {
            if let Some(slot) = self.take(key, current.clone(), refresh) {
                let won = Grant::Won(slot.cas);
                return self.found(slot, Token::Won).unwrap_or(Reply::Missing(won));
            }
            match current {
                Some(slot) => {
                    let lost = Grant::Lost { cas: slot.cas, note: Note::of(slot.flags) };
                    self.found_as_is(slot).unwrap_or(Reply::Missing(lost))
                }
                None => {
                    let stub = Slot { taken: true, ..self.lease(Ttl::For(lease)) };
                    Reply::Missing(Grant::Won(self.put(key, stub)))
                }
            }
        })
    }

    /// Takes the slot for this caller, if it is due for a refresh.
    fn take(&self, key: &str, current: Option<Slot>, refresh: Duration) -> Option<Slot> {
        let slot = current.filter(|slot| self.is_due(slot, refresh))?;
        let taken = Slot { taken: true, ..slot };
        drop(self.items.insert(key, taken.clone()));
        Some(taken)
    }

    /// Whether the slot needs a refresh that no caller has taken on.
    fn is_due(&self, slot: &Slot, refresh: Duration) -> bool {
        let left = || self.time_left(slot).and_then(|left| Ttl::For(left).seconds());
        !slot.taken && (slot.stale || left().is_some_and(|left| left < refresh.as_secs()))
    }

    fn time_left(&self, slot: &Slot) -> Option<Duration> {
        slot.expires.map(|expires| expires.saturating_duration_since(self.now(slot)))
    }

    fn invalidate(&self, key: &str, guard: Guard, ttl: Option<Duration>, current: Option<Slot>) -> Reply {
        match (guarded(current.as_ref(), guard), current) {
            (Ok(()), Some(slot)) => {
                let expires = ttl.map_or(slot.expires, |ttl| after(Ttl::For(ttl), self.now(&slot)));
                self.put(key, Slot { expires, stale: true, taken: false, ..slot });
                Reply::Done
            }
            (Err(refused), _) => refused,
            (Ok(()), None) => Reply::Absent,
        }
    }

    fn touch(&self, key: &str, ttl: Ttl) -> Reply {
        self.locked(key, |current| match current {
            Some(slot) => {
                drop(self.items.insert(key, Slot { expires: after(ttl, self.now(&slot)), ..slot }));
                Reply::Done
            }
            None => Reply::Absent,
        })
    }

    fn store(&self, key: &str, mut slot: Slot, how: Write, guard: Guard, current: Option<Slot>) -> Reply {
        match (guarded(current.as_ref(), guard), guard) {
            (Ok(()), _) | (Err(Reply::Absent), Guard::None) => {}
            // As in memcached: without an item, there is no number to compare.
            (Err(refused), _) => return refused,
        }
        match (how, current) {
            (Write::Set, _) | (Write::Add, None) | (Write::Replace, Some(_)) => {}
            (Write::Add, Some(_)) | (Write::Replace | Write::Append | Write::Prepend, None) => return Reply::NotStored,
            (Write::Append | Write::Prepend, Some(current)) => {
                let (old, new) = (current.value.clone().unwrap_or_default(), slot.value.unwrap_or_default());
                if self.limit.check(key.len() + old.len() + new.len()).is_err() {
                    return Reply::NotStored;
                }
                let parts = if how == Write::Append { [&*old, &*new] } else { [&*new, &*old] };
                // As in memcached, the old flags and ttl stay, and nothing else.
                slot = Slot { flags: current.flags, ..Slot::new(Some(parts.concat().into()), current.expires) };
            }
        }
        self.put(key, slot);
        Reply::Done
    }

    /// Counts as memcached does: up wraps around, down stops at zero.
    fn count(&self, key: &str, by: u64, direction: Direction, current: Option<Slot>) -> Option<Reply> {
        let Some(slot) = current else { return Some(Reply::Absent) };
        let value = slot.value.as_deref()?;
        let (old, width) = (number(value)?, value.len());
        let new = match direction {
            Direction::Up => old.wrapping_add(by),
            Direction::Down => old.saturating_sub(by),
        };
        // memcached overwrites the digits, so a number that gets shorter leaves spaces.
        let mut text = new.to_string().into_bytes();
        text.resize(text.len().max(width), b' ');
        // In memcached, a number that gets longer makes a new item.
        let (stale, taken) = if text.len() > width { (false, false) } else { (slot.stale, slot.taken) };
        self.put(key, Slot { value: Some(text.into()), stale, taken, ..slot });
        Some(Reply::Number(new))
    }

    /// Runs a write under its key's lock, with the current slot, which may be a
    /// lease without a value.
    fn locked(&self, key: &str, write: impl FnOnce(Option<Slot>) -> Reply) -> Reply {
        let _held = lock(self.stripe(key));
        write(self.live(key))
    }

    fn live(&self, key: &str) -> Option<Slot> {
        self.items.get(key).filter(|item| item.expires.is_none_or(|expires| self.now(item) < expires))
    }

    fn put(&self, key: &str, slot: Slot) -> u64 {
        let cas = self.next_cas.fetch_add(1, Ordering::Relaxed);
        drop(self.items.insert(key, Slot { cas, ..slot }));
        cas
    }

    /// Returns the time by which a slot ends.
    fn now(&self, slot: &Slot) -> Instant {
        if slot.value.is_some() { self.clock.now() } else { self.clock.steady() }
    }

    fn expiry(&self, ttl: Ttl) -> Option<Instant> {
        after(ttl, self.clock.now())
    }

    /// Creates a lease without a value, from now on.
    fn lease(&self, ttl: Ttl) -> Slot {
        Slot::new(None, after(ttl, self.clock.steady()))
    }

    fn stripe(&self, key: &str) -> &Mutex<()> {
        share_of(&self.stripes, key)
    }
}

impl Slot {
    /// Creates a fresh slot, which gets its number from [`Embedded::put`].
    fn new(value: Option<Arc<[u8]>>, expires: Option<Instant>) -> Self {
        Slot { value, flags: 0, cas: 0, expires, stale: false, taken: false }
    }
}

/// Returns when a time to live that begins now ends. One too long for the clock never ends.
fn after(ttl: Ttl, now: Instant) -> Option<Instant> {
    ttl.seconds().and_then(|seconds| now.checked_add(Duration::from_secs(seconds)))
}

/// Checks the current slot against the guard. The error is the reply.
fn guarded(current: Option<&Slot>, guard: Guard) -> Result<(), Reply> {
    match (current, guard) {
        (None, _) => Err(Reply::Absent),
        (Some(item), Guard::Unchanged(cas) | Guard::Held(cas)) if item.cas != cas => Err(Reply::Changed),
        (Some(_), _) => Ok(()),
    }
}

/// Parses a decimal number as memcached does, ignoring everything after a space or
/// a zero byte.
fn number(bytes: &[u8]) -> Option<u64> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b);
    let start = bytes.iter().position(|byte| !ends(byte) || *byte == 0)?;
    let digits = bytes[start..].split(ends).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn store() -> (Embedded, Clock) {
        let clock = Clock::manual();
        (Embedded::new(1 << 20, ItemLimit::default(), clock.clone()), clock)
    }

    fn lookup(store: &Embedded) -> Reply {
        store.ask(&Request::Lookup { key: "k", lease: LEASE, refresh: Duration::ZERO }).unwrap()
    }

    fn set(store: &Embedded, value: &[u8], guard: Guard) -> Reply {
        let ttl = Ttl::For(Duration::from_secs(60));
        store.ask(&Request::Store { key: "k", value, flags: 1, ttl, how: Write::Set, guard }).unwrap()
    }

    fn delete(store: &Embedded, guard: Guard) -> Reply {
        store.ask(&Request::Delete { key: "k", guard }).unwrap()
    }

    fn won(reply: Reply) -> u64 {
        match reply {
            Reply::Missing(Grant::Won(cas)) => cas,
            other => panic!("no lease: {other:?}"),
        }
    }

    fn found(reply: Reply) -> Vec<u8> {
        match reply {
            Reply::Found(item) => item.value,
            other => panic!("no value: {other:?}"),
        }
    }

    #[test]
    fn a_miss_has_one_winner_that_may_store() {
        let (store, _) = store();
        let cas = won(lookup(&store));
        assert!(matches!(lookup(&store), Reply::Missing(Grant::Lost { .. })));
        assert_eq!(set(&store, b"v", Guard::Unchanged(cas)), Reply::Done);
        assert_eq!(found(lookup(&store)), b"v");
    }

    #[test]
    fn a_delete_during_the_computation_wins() {
        let (store, _) = store();
        let cas = won(lookup(&store));
        assert_eq!(delete(&store, Guard::None), Reply::Done);
        assert_eq!(set(&store, b"old", Guard::Unchanged(cas)), Reply::Absent);
        assert!(matches!(lookup(&store), Reply::Missing(Grant::Won(_))));
    }

    #[test]
    fn a_write_during_the_computation_wins() {
        let (store, _) = store();
        let cas = won(lookup(&store));
        set(&store, b"new", Guard::None);
        assert_eq!(set(&store, b"old", Guard::Unchanged(cas)), Reply::Changed);
        assert_eq!(found(lookup(&store)), b"new");
    }

    #[test]
    fn an_item_expires_with_its_ttl_and_a_lease_with_its_time() {
        let (store, clock) = store();
        won(lookup(&store));
        clock.advance(LEASE);
        let cas = won(lookup(&store));
        set(&store, b"v", Guard::Unchanged(cas));
        clock.advance(Duration::from_millis(59_999));
        assert_eq!(found(lookup(&store)), b"v");
        clock.advance(Duration::from_millis(1));
        won(lookup(&store));
    }

    #[test]
    fn a_lease_is_given_back_only_by_its_holder() {
        let (store, _) = store();
        let cas = won(lookup(&store));
        assert_eq!(delete(&store, Guard::Unchanged(cas + 1)), Reply::Changed);
        assert_eq!(delete(&store, Guard::Unchanged(cas)), Reply::Done);
        assert_eq!(delete(&store, Guard::None), Reply::Absent);
    }

    #[test]
    fn the_largest_item_fits_whatever_the_capacity() {
        for capacity in [2 << 20, 64 << 20, 1 << 30] {
            let store = Embedded::new(capacity, ItemLimit::default(), Clock::manual());
            let value = vec![0; 1_000_000];
            assert_eq!(set(&store, &value, Guard::None), Reply::Done);
            assert_eq!(found(lookup(&store)).len(), value.len(), "of {capacity} bytes");
        }
    }

    #[test]
    fn memory_is_bounded() {
        let (store, _) = store();
        for i in 0..10_000 {
            let (key, value) = (format!("key:{i}"), [0; 1_000]);
            store
                .ask(&Request::Store {
                    key: &key,
                    value: &value,
                    flags: 1,
                    ttl: Ttl::Forever,
                    how: Write::Set,
                    guard: Guard::None,
                })
                .unwrap();
        }
        assert!(store.items.weight() <= 1 << 20);
        assert!(store.items.len() > 500);
    }
}
