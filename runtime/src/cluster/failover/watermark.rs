//! What a server wrote before some moment, told apart from what it wrote
//! after: the numbers of its items (memcached's *CAS unique*) grow with each
//! write of any client.
//!
//! Asks no server; the requests are `recovery`'s and `route`'s to make.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::exchange::{Guard, Keys, Outcome, Reply, Request, Ttl, Write};

/// The number that a server was at.
#[derive(Debug, Default)]
pub(crate) struct Watermark(AtomicU64);

impl Watermark {
    /// Creates a watermark at this number.
    pub(crate) fn at(number: u64) -> Self {
        Watermark(AtomicU64::new(number))
    }

    /// Moves it to this number.
    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// Whether any item can be older.
    pub(crate) fn is_set(&self) -> bool {
        self.is_after(0)
    }

    /// Whether an item with this number was written before.
    pub(crate) fn is_after(&self, number: u64) -> bool {
        number < self.0.load(Ordering::Relaxed)
    }
}

/// The watermarks of a server as they are before a survey, which may correct them.
pub(crate) struct Watermarks<'a>(Vec<(&'a Watermark, u64)>);

impl<'a> FromIterator<&'a Watermark> for Watermarks<'a> {
    fn from_iter<I: IntoIterator<Item = &'a Watermark>>(all: I) -> Self {
        Watermarks(all.into_iter().map(|watermark| (watermark, watermark.0.load(Ordering::Relaxed))).collect())
    }
}

impl Watermarks<'_> {
    /// Corrects them by the number that the survey has found. If that is smaller than one was
    /// before, the server has been restarted: all it has is new. One that has been set since
    /// is left alone.
    pub(crate) fn correct(&self, now: u64) {
        for (watermark, before) in self.0.iter().filter(|(_, before)| now < *before) {
            let _ = watermark.0.compare_exchange(*before, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

/// Small writes that show which number a server is at.
pub(crate) struct Survey {
    names: Vec<String>,
    keys: Keys,
}

/// So many that their numbers hardly grow by chance, if they come from several
/// servers.
const WRITES: usize = 32;
/// How long a server keeps what a survey writes.
const TTL: Ttl = Ttl::For(Duration::from_secs(60));

impl Survey {
    /// How many requests it has.
    pub(crate) const LEN: usize = WRITES + 1;

    /// Creates a survey under names of its own.
    pub(crate) fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        // Other processes may be surveying the same server.
        let own = RandomState::new().hash_one(());
        let names: Vec<String> = (0..WRITES).map(|i| format!("memocached:mark:{own:016x}:{i}")).collect();
        let mut keys = Keys::default();
        names.iter().for_each(|name| keys.push(name));
        Survey { names, keys }
    }

    /// Returns the requests to send to the server, at once and in this order.
    pub(crate) fn requests(&self) -> Vec<Request<'_>> {
        let (how, guard) = (Write::Set, Guard::None);
        let write = |key| Request::Store { key, value: b"1", flags: 0, ttl: TTL, how, guard };
        let mut requests: Vec<_> = self.names.iter().map(|name| write(name.as_str())).collect();
        requests.push(Request::PeekMany { keys: &self.keys });
        requests
    }

    /// Returns the number that the server was at before, from the outcomes of the requests; 0
    /// if it has none. The numbers of the several servers behind a proxy do not compare, and
    /// some servers are set up to have none.
    ///
    /// # Errors
    ///
    /// If the server did not do as it was asked.
    pub(crate) fn number(outcomes: impl IntoIterator<Item = Outcome>) -> Result<u64, Error> {
        for outcome in outcomes.into_iter().take(Self::LEN) {
            let Reply::FoundMany(items) = outcome? else { continue };
            if items.len() == WRITES {
                let numbers: Vec<u64> = items.iter().map(|(_, item)| item.cas).collect();
                return Ok(if numbers.is_sorted_by(|one, next| one < next) { numbers[0] } else { 0 });
            }
        }
        Err(Error::new(ErrorKind::Server, "the server does not keep what is stored"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Item;

    fn found(numbers: impl IntoIterator<Item = u64>) -> Result<u64, ErrorKind> {
        let item = |cas| ("", Item { value: b"1".to_vec(), cas, ..Item::default() });
        let found = Reply::FoundMany(numbers.into_iter().map(item).collect());
        Survey::number([Ok(Reply::Done), Ok(found)]).map_err(|error| error.kind())
    }

    #[test]
    fn numbers_of_several_servers_say_nothing() {
        let one = 1_000..1_000 + WRITES as u64;
        assert_eq!(found(one.clone()), Ok(1_000));
        assert_eq!(found(one.clone().map(|number| number % 7 + number)), Ok(0));
        assert_eq!(found(one.clone().map(|_| 0)), Ok(0), "a server without numbers");
        assert_eq!(found(one.skip(1)), Err(ErrorKind::Server));
    }

    #[test]
    fn a_server_that_counts_from_the_start_again_has_nothing_old() {
        let watermark = Watermark::at(500);
        assert!(watermark.is_after(499) && !watermark.is_after(500));
        let correct = |now| Watermarks::from_iter([&watermark]).correct(now);
        correct(700);
        assert!(watermark.is_after(499));
        correct(20);
        assert!(!watermark.is_after(1));
    }

    #[test]
    fn a_survey_that_comes_late_does_not_correct_what_was_marked_meanwhile() {
        let watermark = Watermark::at(50);
        let before = Watermarks::from_iter([&watermark]);
        watermark.set(123);
        before.correct(20);
        assert!(watermark.is_after(122));
    }
}
