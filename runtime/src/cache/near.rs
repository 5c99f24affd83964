//! The near tier: values kept in this process, in front of memcached, each for a
//! short time.
//!
//! It is bounded by bytes. A change made by this process shows at once, one made
//! by another process after that time at the latest, counted from when the value was
//! asked for: however late the reply is, no value is served for longer.
//!
//! It keeps bytes. Where all hits may share one value, that is kept beside the bytes
//! once they have been decoded.

use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::bounded::{Bounded, Weighed};
use crate::codec::Standard;
use crate::exchange::ItemLimit;
use crate::sync::{lock, share_of};
use crate::time::clock::{Clock, Tick};
use crate::time::servant::survive;
use crate::value::record::Record;

/// The near tier of one cache.
pub(crate) struct Near {
    copies: Bounded<Arc<NearCopy>>,
    /// How often a key of each stripe has been forgotten.
    forgotten: [Mutex<u64>; STRIPES],
    clock: Clock,
}

const STRIPES: usize = 64;

/// Nothing is kept for longer; the ticks of the clock could not tell.
const LONGEST: Duration = Duration::from_secs(30 * 86_400);

/// The kind of result that a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    Value,
    /// A value that all hits may share.
    Shared,
    /// The absence of a value, or an error.
    Nothing,
}

/// A copy of what is stored under a key.
pub(crate) struct NearCopy {
    record: Arc<Record>,
    holds: Holds,
    expires: Tick,
    /// The value that the first hit decodes, where all may share it. Other hits decode
    /// their own.
    decoded: OnceLock<Box<Decoded>>,
}

/// A decoded value.
pub(crate) struct Decoded {
    pub(crate) by: Decoding,
    /// What it took to compute, in nanoseconds.
    pub(crate) cost: u64,
    pub(crate) value: Box<dyn Any + Send + Sync>,
}

/// All that decides which value is made of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decoding {
    pub(crate) value: TypeId,
    /// The site's choice of a codec.
    pub(crate) codec: TypeId,
    /// The cache's codec.
    pub(crate) configured: Standard,
    /// The key's owner.
    pub(crate) owner: u64,
    pub(crate) version: u32,
    pub(crate) is_grouped: bool,
}

impl NearCopy {
    fn new(record: Arc<Record>, holds: Holds, expires: Tick) -> Self {
        NearCopy { record, holds, expires, decoded: OnceLock::new() }
    }

    #[inline]
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Returns the value that was decoded in this way, if one is kept.
    #[inline]
    pub(crate) fn decoded(&self, by: &Decoding) -> Option<&Decoded> {
        self.decoded.get().map(|decoded| &**decoded).filter(|decoded| decoded.by == *by)
    }

    /// Keeps a decoded value, unless one is kept, as long as the record is.
    pub(crate) fn keep_decoded(&self, decoded: Decoded) {
        if self.holds == Holds::Shared {
            let _ = self.decoded.set(Box::new(decoded));
        }
    }
}

impl Weighed for Arc<NearCopy> {
    /// Counts a decoded value as much as its bytes, even before it is there.
    fn weight(&self) -> usize {
        let bytes = self.record.bytes.len();
        match self.holds {
            Holds::Value | Holds::Nothing => bytes,
            Holds::Shared => 2 * bytes + size_of::<Decoded>(),
        }
    }
}

/// The state of a key before its value was looked up or computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Since {
    /// How often a key of its stripe had been forgotten.
    forgotten: u64,
    /// When the value is known to have been the current one.
    current: Tick,
}

impl Near {
    /// Creates a tier that holds about `capacity` bytes, in items up to the limit.
    pub(crate) fn new(capacity: u64, limit: ItemLimit, clock: Clock) -> Self {
        let forgotten = std::array::from_fn(|_| Mutex::new(0));
        Near { copies: Bounded::new(limit.0, capacity), forgotten, clock }
    }

    /// Returns the copy under this key, unless its time is over.
    #[inline]
    pub(crate) fn find(&self, key: &str) -> Option<Arc<NearCopy>> {
        self.copies.get(key).filter(|copy| self.clock.tick() < copy.expires)
    }

    /// Returns the copy under this key if it is a [plain](Record::is_plain) value.
    #[inline]
    pub(crate) fn find_plain(&self, key: &str) -> Option<Arc<NearCopy>> {
        self.find(key).filter(|copy| copy.holds != Holds::Nothing && copy.record.is_plain())
    }

    /// Returns the state for [`Near::keep`], to be taken before the value is looked up.
    pub(crate) fn since(&self, key: &str) -> Since {
        // In this order the time is never too late.
        let current = self.clock.tick();
        Since { forgotten: *lock(self.stripe(key)), current }
    }

    /// Takes note that a value is the current one now, if the server stores it.
    pub(crate) fn storing(&self, since: Since) -> Since {
        Since { current: self.clock.tick(), ..since }
    }

    /// Keeps a record for `time` from when it was looked up, unless its key has been
    /// forgotten since.
    pub(crate) fn keep(&self, key: &str, record: Arc<Record>, holds: Holds, time: Duration, since: Since) {
        let forgotten = lock(self.stripe(key));
        if *forgotten == since.forgotten {
            let gone = self.insert(key, record, holds, time, since);
            drop(forgotten);
            let_go(gone.into_iter().flatten());
        }
    }

    /// Replaces the record under this key by one that is stored now, if that is to be
    /// kept, and prevents lookups already under way from keeping theirs. Its time begins
    /// when it was known to be the current one.
    pub(crate) fn replace(&self, key: &str, by: Option<(Arc<Record>, Holds, Duration)>, since: Since) {
        let mut forgotten = lock(self.stripe(key));
        let removed = self.copies.remove(key);
        let by = by.filter(|_| *forgotten == since.forgotten);
        let gone = by.and_then(|(record, holds, time)| self.insert(key, record, holds, time, since));
        *forgotten += 1;
        drop(forgotten);
        let_go(removed);
        let_go(gone.into_iter().flatten());
    }

    /// Inserts a copy, and returns the ones that it displaced.
    fn insert(
        &self,
        key: &str,
        record: Arc<Record>,
        holds: Holds,
        time: Duration,
        since: Since,
    ) -> Option<impl Iterator<Item = Arc<NearCopy>> + use<>> {
        let expires = since.current.saturating_add(time.min(LONGEST).into());
        if self.clock.tick() >= expires {
            return None;
        }
        let copy = |holds| Arc::new(NearCopy::new(Arc::clone(&record), holds, expires));
        let copy = match copy(holds) {
            // Without room for its value beside its bytes, each hit decodes it.
            large if holds == Holds::Shared && !self.copies.fits(key, &large) => copy(Holds::Value),
            copy => copy,
        };
        Some(self.copies.insert(key, copy))
    }

    /// Drops the record under this key, and prevents lookups already under way from
    /// keeping one.
    pub(crate) fn forget(&self, key: &str) {
        let mut forgotten = lock(self.stripe(key));
        *forgotten += 1;
        let removed = self.copies.remove(key);
        drop(forgotten);
        let_go(removed);
    }

    /// Drops all records, and prevents lookups already under way from keeping one.
    pub(crate) fn forget_all(&self) {
        for forgotten in &self.forgotten {
            *lock(forgotten) += 1;
        }
        let_go(self.copies.drain());
    }

    fn stripe(&self, key: &str) -> &Mutex<u64> {
        share_of(&self.forgotten, key)
    }
}

/// Drops copies while no lock is held: the values in them are other people's, and what they
/// do when they are dropped may change this tier, or panic.
fn let_go(copies: impl IntoIterator<Item = Arc<NearCopy>>) {
    copies.into_iter().for_each(|copy| _ = survive(|| drop(copy)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::envelope::CLIENT_FLAGS;

    const SECOND: Duration = Duration::from_secs(1);

    fn near() -> (Near, Clock) {
        let clock = Clock::manual();
        (Near::new(2 << 20, ItemLimit::default(), clock.clone()), clock)
    }

    fn record(bytes: &[u8]) -> Arc<Record> {
        Arc::new(Record { bytes: bytes.to_vec(), flags: CLIENT_FLAGS })
    }

    #[test]
    fn a_value_expires_with_its_time() {
        let (near, clock) = near();
        near.keep("k", record(b"v"), Holds::Value, SECOND, near.since("k"));
        clock.advance(Duration::from_millis(999));
        assert!(near.find("k").is_some());
        clock.advance(Duration::from_millis(1));
        assert!(near.find("k").is_none());
    }

    #[test]
    fn a_value_looked_up_before_its_key_was_forgotten_is_not_kept() {
        let (near, _) = near();
        let since = near.since("k");
        near.forget("k");
        near.keep("k", record(b"old"), Holds::Value, SECOND, since);
        assert!(near.find("k").is_none());
        near.keep("k", record(b"new"), Holds::Value, SECOND, near.since("k"));
        assert!(near.find("k").is_some());
        near.forget("k");
        assert!(near.find("k").is_none());
    }

    #[test]
    fn a_value_looked_up_before_another_was_stored_is_not_kept() {
        let (near, _) = near();
        let [asked, computing] = [(); 2].map(|()| near.since("k"));
        near.replace("k", Some((record(b"new"), Holds::Value, SECOND)), computing);
        near.keep("k", record(b"old"), Holds::Value, SECOND, asked);
        assert_eq!(near.find("k").expect("it is kept").record().bytes, b"new");
        near.replace("k", Some((record(b"older"), Holds::Value, SECOND)), computing);
        assert!(near.find("k").is_none(), "which of the two is newer is unknown");
    }

    #[test]
    fn a_value_that_arrives_late_is_kept_for_what_is_left_of_its_time() {
        let (near, clock) = near();
        let since = near.since("k");
        clock.advance(Duration::from_millis(999));
        near.keep("k", record(b"v"), Holds::Value, SECOND, since);
        assert!(near.find("k").is_some());
        clock.advance(Duration::from_millis(1));
        assert!(near.find("k").is_none());
        near.keep("k", record(b"v"), Holds::Value, SECOND, since);
        assert!(near.find("k").is_none());
    }

    #[test]
    fn many_keys_take_no_more_than_the_capacity() {
        let (near, _) = near();
        for i in 0..1_000_000 {
            let key = format!("key:{i}");
            near.keep(&key, record(&[0; 100]), Holds::Value, SECOND, near.since(&key));
        }
        assert!(near.copies.weight() <= 2 << 20);
        assert!(near.copies.len() > 1_000);
    }

    #[cfg(feature = "bincode")]
    const DECODING: Decoding = Decoding {
        value: TypeId::of::<Arc<u8>>(),
        codec: TypeId::of::<u8>(),
        configured: Standard::Bincode,
        owner: 0,
        version: 0,
        is_grouped: false,
    };

    #[cfg(feature = "bincode")]
    fn decoded(value: u8) -> Decoded {
        Decoded { by: DECODING, cost: 1, value: Box::new(Arc::new(value)) }
    }

    #[test]
    #[cfg(feature = "bincode")]
    fn what_was_decoded_is_for_those_who_decode_in_the_same_way() {
        let (near, _) = near();
        near.keep("k", record(b"v"), Holds::Shared, SECOND, near.since("k"));
        let copy = near.find("k").expect("it is kept");
        assert!(copy.decoded(&DECODING).is_none());
        copy.keep_decoded(decoded(1));
        copy.keep_decoded(decoded(2));
        let found = near.find("k").expect("it is kept");
        let value = |by| found.decoded(&by).and_then(|decoded| decoded.value.downcast_ref::<Arc<u8>>().cloned());
        assert_eq!(value(DECODING).as_deref(), Some(&1));
        for other in [
            Decoding { value: TypeId::of::<Arc<u16>>(), ..DECODING },
            Decoding { codec: TypeId::of::<u16>(), ..DECODING },
            Decoding { owner: 1, ..DECODING },
            Decoding { version: 1, ..DECODING },
            Decoding { is_grouped: true, ..DECODING },
        ] {
            assert_eq!(value(other), None, "{other:?}");
        }
    }

    #[test]
    #[cfg(feature = "bincode")]
    fn what_was_decoded_goes_with_its_record() {
        let (near, clock) = near();
        let keep = || {
            near.keep("k", record(b"v"), Holds::Shared, SECOND, near.since("k"));
            let copy = near.find("k").expect("it is kept");
            assert!(copy.decoded(&DECODING).is_none(), "it is of an earlier record");
            copy.keep_decoded(decoded(1));
        };
        keep();
        near.keep("k", record(b"v"), Holds::Value, SECOND, near.since("k"));
        assert!(near.find("k").expect("it is kept").decoded(&DECODING).is_none());
        keep();
        near.replace("k", Some((record(b"v"), Holds::Shared, SECOND)), near.since("k"));
        keep();
        near.forget("k");
        assert!(near.find("k").is_none());
        keep();
        near.forget_all();
        assert!(near.find("k").is_none());
        keep();
        clock.advance(SECOND);
        assert!(near.find("k").is_none());
        keep();
    }

    #[test]
    fn a_shared_value_counts_as_much_as_its_bytes() {
        let (near, _) = near();
        let keep = |holds, bytes: usize| {
            near.forget_all();
            near.keep("k", record(&vec![0; bytes]), holds, SECOND, near.since("k"));
            (near.copies.weight(), near.find("k"))
        };
        let (once, _) = keep(Holds::Value, 10_000);
        let (twice, copy) = keep(Holds::Shared, 10_000);
        assert!((20_000..20_000 + once).contains(&twice) && copy.is_some_and(|copy| copy.holds == Holds::Shared));
        // Its bytes alone have room, and are kept.
        let (once, copy) = keep(Holds::Shared, 1_500_000);
        assert!((1_500_000..1_600_000).contains(&once) && copy.is_some_and(|copy| copy.holds == Holds::Value));
        let (_, copy) = keep(Holds::Nothing, 1_500_000);
        assert!(copy.is_some() && near.find_plain("k").is_none());
    }

    /// A value that changes the tier that keeps it when it is dropped, and panics.
    #[cfg(feature = "bincode")]
    struct Changing(std::sync::Weak<Near>, std::sync::mpsc::Sender<()>);

    #[cfg(feature = "bincode")]
    impl Drop for Changing {
        fn drop(&mut self) {
            if let Some(near) = self.0.upgrade() {
                near.forget("k");
                near.keep("k", record(b"v"), Holds::Value, SECOND, near.since("k"));
                let _ = self.1.send(());
                panic!("on purpose");
            }
        }
    }

    #[test]
    #[cfg(feature = "bincode")]
    fn a_value_may_change_the_tier_when_it_is_dropped_and_may_panic() {
        let fill = |near: &Near| {
            for i in 0..20_000 {
                let key = format!("key:{i}");
                near.keep(&key, record(&[0; 100]), Holds::Value, SECOND, near.since(&key));
                // Those that are used again push others out.
                assert!((0..3).all(|_| near.find(&key).is_some()));
            }
        };
        let by = |near: &Near, by| near.replace("k", by, near.since("k"));
        type Change = Box<dyn Fn(&Near) + Send>;
        let changes: [(&str, Change); 6] = [
            ("forgotten", Box::new(|near| near.forget("k"))),
            ("all forgotten", Box::new(Near::forget_all)),
            ("removed", Box::new(move |near| by(near, None))),
            ("replaced", Box::new(move |near| by(near, Some((record(b"w"), Holds::Value, SECOND))))),
            ("kept", Box::new(|near| near.keep("k", record(b"w"), Holds::Value, SECOND, near.since("k")))),
            ("evicted", Box::new(fill)),
        ];
        for (what, change) in changes {
            let (dropped, is_dropped) = std::sync::mpsc::channel();
            let (done, is_done) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                let near = Arc::new(near().0);
                near.keep("k", record(b"v"), Holds::Shared, SECOND, near.since("k"));
                let value = Box::new(Changing(Arc::downgrade(&near), dropped));
                near.find("k").expect("it is kept").keep_decoded(Decoded { by: DECODING, cost: 1, value });
                change(&near);
                let _ = done.send(near);
            });
            let near = is_done.recv_timeout(Duration::from_secs(20)).unwrap_or_else(|_| panic!("{what}: no end"));
            assert!(is_dropped.try_recv().is_ok(), "{what}");
            near.keep("k", record(b"w"), Holds::Value, SECOND, near.since("k"));
            assert!(near.find("k").is_some(), "{what}");
        }
    }
}
