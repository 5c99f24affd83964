//! Which keys other members have had in the meantime, before the members were
//! changed. What a member has kept of such a key from before is out of date: any
//! process may have overwritten or deleted it elsewhere.
//!
//! Asks no node; `failover/route` does.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::cluster::failover::watermark::Watermark;
use crate::cluster::ring::Ring;

/// How many changes are remembered. What a member has from before the first of them
/// is out of date whatever its key.
const MOST: usize = 16;

/// The changes of the members, the latest last.
#[derive(Clone, Default)]
pub(crate) struct Moves(Vec<Moved>);

/// One change.
#[derive(Clone)]
struct Moved {
    /// Who had which keys before. `None` for the first that is remembered.
    former: Option<Former>,
    /// From which number on the items of each member count. It is found out with
    /// the first key that needs it, and counts for earlier changes too.
    watermarks: Arc<BTreeMap<usize, OnceLock<Watermark>>>,
}

/// The members before a change.
#[derive(Clone)]
pub(crate) struct Former {
    pub(crate) ring: Arc<Ring>,
    pub(crate) numbers: Arc<[usize]>,
}

/// Where a key belongs.
#[derive(Clone, Copy)]
pub(crate) enum RingKey<'a> {
    /// To the member that the ring has for this name.
    Name(&'a [u8]),
    /// To each member.
    Everywhere,
}

impl Former {
    /// Whether a member had the key.
    fn has(&self, number: usize, key: RingKey<'_>) -> bool {
        match key {
            RingKey::Name(name) => self.ring.owner(name) == number,
            RingKey::Everywhere => self.numbers.contains(&number),
        }
    }
}

impl Moved {
    /// Whether the change may have brought the key to a member.
    fn brought(&self, number: usize, key: RingKey<'_>) -> bool {
        let is_new = || self.former.as_ref().is_none_or(|former| !former.has(number, key));
        self.watermarks.contains_key(&number) && is_new()
    }

    fn watermark(&self, number: usize) -> Option<&Watermark> {
        self.watermarks.get(&number)?.get()
    }
}

impl Moves {
    /// These changes, and one more: to members with these numbers.
    pub(crate) fn and(&self, former: Former, numbers: impl Iterator<Item = usize>) -> Self {
        let mut all = self.0.clone();
        let watermarks = Arc::new(numbers.map(|number| (number, OnceLock::new())).collect());
        all.push(Moved { former: Some(former), watermarks });
        if all.len() > MOST {
            all.remove(0);
            all[0].former = None;
        }
        Moves(all)
    }

    /// Whether there has been no change.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a change has brought the key to a member.
    pub(crate) fn have_brought(&self, number: usize, key: RingKey<'_>) -> bool {
        !self.since(number, key).is_empty()
    }

    /// Whether a member has an item of this number from before other members had its
    /// key.
    pub(crate) fn have_passed(&self, number: usize, key: RingKey<'_>, item: u64) -> bool {
        let latest = self.0.last().and_then(|moved| moved.watermark(number));
        if latest.is_some_and(|latest| !latest.is_after(item)) {
            return false;
        }
        let since = self.since(number, key);
        !since.is_empty() && watermark(since, number).is_none_or(|watermark| watermark.is_after(item))
    }

    /// The watermark of a member that must be set before one of these keys is asked for.
    pub(crate) fn unmarked<'a>(
        &self,
        number: usize,
        mut keys: impl Iterator<Item = RingKey<'a>>,
    ) -> Option<&OnceLock<Watermark>> {
        let latest = self.0.last()?.watermarks.get(&number).filter(|latest| latest.get().is_none())?;
        let is_unmarked = |key| {
            let since = self.since(number, key);
            !since.is_empty() && watermark(since, number).is_none()
        };
        keys.any(is_unmarked).then_some(latest)
    }

    /// The watermarks of a member that are set.
    pub(crate) fn watermarks(&self, number: usize) -> impl Iterator<Item = &Watermark> {
        self.0.iter().filter_map(move |moved| moved.watermark(number))
    }

    /// The changes from the latest on that brought the key to a member.
    fn since(&self, number: usize, key: RingKey<'_>) -> &[Moved] {
        let first = self.0.iter().rposition(|moved| moved.brought(number, key));
        &self.0[first.unwrap_or(self.0.len())..]
    }
}

/// The earliest that was set after these changes.
fn watermark(since: &[Moved], number: usize) -> Option<&Watermark> {
    since.iter().find_map(|moved| moved.watermark(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::failover::watermark::Watermarks;
    use crate::server::Distribution;

    /// Changes to these members, one after the other.
    struct Changing {
        former: Former,
        moves: Moves,
    }

    fn members(numbers: &[usize]) -> Former {
        let servers: Vec<_> = numbers.iter().map(|n| (*n, format!("a:{}", n + 1).parse().expect("a server"))).collect();
        let ring = Ring::new(Distribution::Ketama, servers.iter().map(|(number, server)| (*number, server)));
        Former { ring: Arc::new(ring), numbers: numbers.into() }
    }

    impl Changing {
        fn from(numbers: &[usize]) -> Self {
            Changing { former: members(numbers), moves: Moves::default() }
        }

        fn to(&mut self, numbers: &[usize]) {
            let former = std::mem::replace(&mut self.former, members(numbers));
            self.moves = self.moves.and(former, numbers.iter().copied());
        }

        /// The owner of a key that member 0 has had.
        fn owner(&self, key: &str) -> usize {
            self.former.ring.owner(key.as_bytes())
        }

        /// Finds the number out if it is needed.
        fn mark(&self, number: usize, key: &str, now: u64) -> bool {
            let unmarked = self.moves.unmarked(number, [RingKey::Name(key.as_bytes())].into_iter());
            unmarked.is_some_and(|watermark| watermark.set(Watermark::at(now)).is_ok())
        }

        fn watermarks(&self, number: usize) -> Watermarks<'_> {
            self.moves.watermarks(number).collect()
        }

        fn is_old(&self, number: usize, key: &str, item: u64) -> bool {
            self.moves.have_passed(number, RingKey::Name(key.as_bytes()), item)
        }
    }

    /// A key that moves to a member when it joins 0, and one that stays.
    fn moving_and_staying() -> (String, String) {
        let both = members(&[0, 1]);
        let owned = |number| (0..).map(|i| i.to_string()).find(|key| both.ring.owner(key.as_bytes()) == number);
        (owned(1).expect("a key"), owned(0).expect("a key"))
    }

    #[test]
    fn what_a_member_kept_while_another_had_the_key_is_out_of_date() {
        let (moving, staying) = moving_and_staying();
        let mut all = Changing::from(&[0]);
        assert!(!all.is_old(0, &moving, 5) && !all.mark(0, &moving, 5), "nothing has changed");
        all.to(&[0, 1]);
        assert!(all.owner(&moving) == 1 && all.mark(1, &moving, 50) && !all.mark(0, &staying, 50));
        assert!(all.is_old(1, &moving, 49) && !all.is_old(1, &moving, 50) && !all.is_old(0, &staying, 5));
        all.to(&[0]);
        assert!(all.is_old(0, &moving, 5), "until the number is known, all is old");
        assert!(all.mark(0, &moving, 60) && !all.mark(0, &moving, 70));
        assert!(all.is_old(0, &moving, 59) && !all.is_old(0, &moving, 60) && !all.is_old(0, &staying, 5));
    }

    #[test]
    fn a_member_that_returns_has_another_number_and_nothing_that_counts() {
        let (moving, _) = moving_and_staying();
        let mut all = Changing::from(&[0, 1]);
        all.to(&[0]);
        all.to(&[0, 2]);
        assert!(all.moves.have_passed(2, RingKey::Everywhere, 5) && !all.moves.have_passed(0, RingKey::Everywhere, 5));
        assert!(all.moves.have_brought(2, RingKey::Everywhere) && !all.moves.have_brought(0, RingKey::Everywhere));
        assert!(all.moves.have_brought(0, RingKey::Name(moving.as_bytes())));
    }

    /// Returns a key that the member 0 gets when 2 leaves, and one that it gets when 1 leaves then.
    fn moved_one_after_the_other() -> (String, String) {
        let (three, two) = (members(&[0, 1, 2]), members(&[0, 1]));
        let owners = |key: &String| [&three, &two].map(|members| members.ring.owner(key.as_bytes()));
        let owned = |by| (0..).map(|i| i.to_string()).find(|key| owners(key) == by).expect("a key");
        (owned([2, 0]), owned([1, 1]))
    }

    #[test]
    fn one_number_counts_for_the_changes_before_too() {
        let (first, second) = moved_one_after_the_other();
        let mut all = Changing::from(&[0, 1, 2]);
        all.to(&[0, 1]);
        all.to(&[0]);
        assert!(all.is_old(0, &first, 70) && all.mark(0, &second, 60));
        assert!(!all.mark(0, &first, 80) && all.is_old(0, &first, 59) && !all.is_old(0, &first, 60));
    }

    #[test]
    fn a_server_that_counts_from_the_start_again_has_nothing_old() {
        let (moving, _) = moving_and_staying();
        let mut all = Changing::from(&[0]);
        all.to(&[0, 1]);
        assert!(all.mark(1, &moving, 500) && all.is_old(1, &moving, 20));
        all.watermarks(1).correct(30);
        assert!(!all.is_old(1, &moving, 20));
    }

    #[test]
    fn a_survey_corrects_nothing_that_was_marked_after_it_was_sent() {
        let (first, second) = moved_one_after_the_other();
        let mut all = Changing::from(&[0, 1, 2]);
        all.to(&[0, 1]);
        assert!(all.mark(0, &first, 50));
        all.to(&[0]);
        assert!(all.is_old(0, &first, 40));
        let before = all.watermarks(0);
        assert!(all.mark(0, &second, 123));
        before.correct(90);
        assert!(all.is_old(0, &second, 100) && all.is_old(0, &first, 40));
    }

    #[test]
    fn of_more_changes_than_are_remembered_what_is_older_than_all_is_out_of_date() {
        let (_, staying) = moving_and_staying();
        let mut all = Changing::from(&[0]);
        for _ in 0..MOST {
            all.to(&[0]);
        }
        assert!(!all.is_old(0, &staying, 5));
        all.to(&[0]);
        assert!(all.is_old(0, &staying, 5) && all.mark(0, &staying, 90));
        assert!(all.is_old(0, &staying, 89) && !all.is_old(0, &staying, 90));
        all.to(&[0]);
        assert!(!all.mark(0, &staying, 99) && !all.is_old(0, &staying, 90), "once, and not with every change");
    }
}
