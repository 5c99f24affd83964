//! How long a call's value is kept, when it is refreshed, and by which caller.
//!
//! This is arithmetic only. What follows from it is decided in `machine`.

use std::time::Duration;

use crate::config::jitter::Jitter;
use crate::exchange::{Item, Ttl};

/// A site's choices for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    /// How long a value is fresh.
    pub(crate) ttl: Ttl,
    /// How long a value is kept past its ttl, to be served while it is refreshed
    /// or when the refresh fails.
    pub(crate) grace: Duration,
    pub(crate) ahead: Ahead,
    /// How long this process keeps the value as well, if it does.
    pub(crate) near: Option<Duration>,
    pub(crate) single_flight: SingleFlight,
}

/// When a value is refreshed while it is still fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ahead {
    Never,
    /// By one caller, once less than this is left.
    Of(Duration),
    /// At random, and the earlier the longer it takes to compute: see [`is_early`].
    Auto,
}

/// The callers among which only one at a time computes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SingleFlight {
    /// All processes that share the servers.
    Lease,
    /// The callers in this process.
    Local,
    /// None: each caller computes for itself.
    Off,
}

/// A value's age, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    /// Whole seconds until it is stale; `None` if it never is, or if that is unknown.
    Fresh(Option<u64>),
    /// It is past its ttl but may still be served.
    Stale,
    /// It may no longer be served.
    Dead,
}

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// The longest grace. Servers know no time after January 2038, and an item whose end
/// lies there would not tell when its grace begins.
pub(crate) const LONGEST_GRACE: Duration = YEAR;
/// The longest ttl beside a grace, for the same reason.
const LONGEST_BESIDE_GRACE: Duration = Duration::from_secs(5 * YEAR.as_secs());
/// Longer ttls are cut to this. It is longer than any server can tell.
const LONGEST: Duration = Duration::from_secs(100 * YEAR.as_secs());

impl Freshness {
    /// Returns the default choices with this ttl.
    pub(crate) fn of(ttl: Ttl) -> Self {
        let (grace, ahead, near, single_flight) = (Duration::ZERO, Ahead::Never, None, SingleFlight::Lease);
        Freshness { ttl, grace, ahead, near, single_flight }
    }

    /// Narrows a window that covers the whole ttl to its second half: otherwise every
    /// call would refresh. Returns the window that was too wide.
    pub(crate) fn narrow(&mut self) -> Option<Duration> {
        let (Ahead::Of(window), Ttl::For(ttl)) = (self.ahead, self.ttl) else { return None };
        if window < ttl || ttl.is_zero() {
            return None;
        }
        self.ahead = Ahead::Of(Duration::from_secs(ttl.as_secs() / 2));
        Some(window)
    }

    /// Returns the time left below which the server elects a caller to refresh an
    /// item.
    pub(crate) fn refresh_window(&self) -> Duration {
        // Servers count whole seconds: how much is left of the last one is unknown.
        let stale = if self.grace.is_zero() { self.grace } else { self.grace.saturating_add(SECOND) };
        match self.ahead {
            Ahead::Of(window) => stale.saturating_add(window),
            Ahead::Never | Ahead::Auto => stale,
        }
    }

    /// Returns the age of an item's value. `grace` is how many seconds of the item's
    /// time are behind its ttl; an item that does not say is taken for one of this site.
    pub(crate) fn age(&self, item: &Item, grace: Option<u32>) -> Age {
        let served = self.grace.as_secs();
        let kept = grace.map_or(served, u64::from);
        match item.seconds_left {
            _ if item.stale && served > 0 => Age::Stale,
            _ if item.stale => Age::Dead,
            Some(left) if left > kept || kept == 0 => Age::Fresh(Some(left - kept)),
            Some(left) if served > 0 && kept - left <= served => Age::Stale,
            Some(_) => Age::Dead,
            None => Age::Fresh(None),
        }
    }

    /// Returns how long to store a value; `chance` is drawn from 0 to 1. Grace needs a
    /// server that reports the time left: otherwise no reader can tell when it begins.
    pub(crate) fn kept(&self, with_grace: bool, jitter: Jitter, chance: f64) -> Ttl {
        match shortened(self.ttl, jitter, chance) {
            Ttl::For(ttl) if with_grace => Ttl::For(ttl.min(LONGEST_BESIDE_GRACE).saturating_add(self.grace)),
            ttl => ttl,
        }
    }
}

/// Shortens a ttl at random, by at most the jitter.
fn shortened(ttl: Ttl, Jitter(percent): Jitter, chance: f64) -> Ttl {
    match ttl {
        Ttl::Forever => Ttl::Forever,
        // Ttls are sent in whole seconds, rounded up, so short ones stay as they are.
        Ttl::For(ttl) => Ttl::For(ttl.min(LONGEST).mul_f64(1.0 - f64::from(percent) / 100.0 * chance.clamp(0.0, 1.0))),
    }
}

/// Whether a caller refreshes a value that stays fresh for `left` and took `cost`
/// to compute; `chance` is drawn from above 0 to 1.
///
/// The formula is that of Vattani, Chierichetti and Lowenstein, *Optimal
/// Probabilistic Cache Stampede Prevention*, VLDB 2015, with β = 1: `-cost ·
/// ln(chance) ≥ left`, which holds with probability `exp(-left / cost)`.
pub(crate) fn is_early(cost: Duration, left: Duration, chance: f64) -> bool {
    -cost.as_secs_f64() * chance.ln() >= left.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENTH: Jitter = Jitter(10);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn item(left: Option<u64>, stale: bool) -> Item {
        Item { seconds_left: left, stale, ..Item::default() }
    }

    #[test]
    fn a_value_is_stale_once_only_grace_is_left() {
        let plain = Freshness::of(Ttl::For(secs(300)));
        let freshness = Freshness { grace: secs(60), ..plain };
        assert_eq!(freshness.age(&item(Some(360), false), None), Age::Fresh(Some(300)));
        assert_eq!(freshness.age(&item(Some(61), false), None), Age::Fresh(Some(1)));
        assert_eq!(freshness.age(&item(Some(60), false), None), Age::Stale);
        assert_eq!(freshness.age(&item(Some(200), true), None), Age::Stale);
        assert_eq!(plain.age(&item(Some(200), true), None), Age::Dead);
        assert_eq!(plain.age(&item(Some(0), false), None), Age::Fresh(Some(0)));
        assert_eq!(freshness.age(&item(None, false), None), Age::Fresh(None));
    }

    #[test]
    fn an_item_tells_its_own_time_and_a_site_how_long_it_serves_it_past_that() {
        let age = |site: u64, kept, left| {
            let freshness = Freshness { grace: secs(site), ..Freshness::of(Ttl::For(secs(300))) };
            freshness.age(&item(Some(left), false), Some(kept))
        };
        assert_eq!(age(0, 4, 5), Age::Fresh(Some(1)));
        assert_eq!(age(0, 4, 4), Age::Dead);
        assert_eq!(age(60, 0, 1), Age::Fresh(Some(1)));
        assert_eq!(age(3, 10, 7), Age::Stale);
        assert_eq!(age(3, 10, 6), Age::Dead);
        assert_eq!(age(20, 10, 1), Age::Stale);
    }

    #[test]
    fn grace_is_added_to_the_ttl_and_never_shortened() {
        let freshness = Freshness { grace: secs(60), ..Freshness::of(Ttl::For(secs(300))) };
        assert_eq!(freshness.kept(true, TENTH, 0.0), Ttl::For(secs(360)));
        assert_eq!(freshness.kept(true, TENTH, 1.0), Ttl::For(secs(330)));
        assert_eq!(freshness.kept(false, TENTH, 0.0), Ttl::For(secs(300)));
        assert_eq!(freshness.kept(true, Jitter(0), 1.0), Ttl::For(secs(360)));
        assert_eq!(Freshness::of(Ttl::Forever).kept(true, TENTH, 0.5), Ttl::Forever);
    }

    #[test]
    fn ttls_are_spread_evenly_over_their_last_tenth_and_never_above() {
        let mut counts = [0_u32; 10];
        for i in 0..100_000_u32 {
            let Ttl::For(ttl) = shortened(Ttl::For(secs(1_000)), TENTH, f64::from(i) / 100_000.0) else {
                unreachable!()
            };
            assert!(ttl <= secs(1_000) && ttl > secs(900));
            counts[((ttl.as_secs_f64() - 900.0) / 10.0).min(9.0) as usize] += 1;
        }
        let chi_square: f64 = counts.iter().map(|count| (f64::from(*count) - 10_000.0).powi(2) / 10_000.0).sum();
        // The 99th percentile for nine degrees of freedom.
        assert!(chi_square < 21.7, "{counts:?}");
    }

    #[test]
    fn a_value_is_refreshed_early_as_often_as_the_formula_says() {
        for (cost, left) in [(1, 1), (1, 3), (5, 1), (10, 30)] {
            let expected = (-f64::from(left) / f64::from(cost)).exp();
            let draws = 100_000;
            let early = (1..=draws)
                .filter(|i| {
                    is_early(
                        secs(u64::try_from(cost).unwrap()),
                        secs(u64::try_from(left).unwrap()),
                        f64::from(*i) / f64::from(draws),
                    )
                })
                .count();
            let share = early as f64 / f64::from(draws);
            assert!((share - expected).abs() < 0.001, "cost {cost}, left {left}: {share} for {expected}");
        }
    }
}
