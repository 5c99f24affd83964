//! How long a call's value is kept, when it is refreshed, and by which caller.
//!
//! This is arithmetic only. What follows from it is decided in `machine`.

use std::time::Duration;

use crate::config::jitter::Jitter;
use crate::exchange::{Item, Ttl};
use crate::value::envelope::Times;
use crate::value::stamp::Stamps;

/// A site's choices for one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    /// How long a value is fresh.
    pub(crate) ttl: Ttl,
    /// How long a value is kept past its ttl, to be served while it is refreshed
    /// or when the refresh fails.
    pub(crate) grace: Grace,
    /// How long a value is kept while no call asks for it, if that is shorter.
    pub(crate) idle: Option<Duration>,
    pub(crate) ahead: Ahead,
    /// How long this process keeps the value as well, if it does.
    pub(crate) near: Option<Duration>,
    pub(crate) single_flight: SingleFlight,
}

/// How long a value is kept past its ttl.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grace {
    For(Duration),
    /// For as long as the value says.
    OfValue,
}

impl Grace {
    pub(crate) const NONE: Self = Grace::For(Duration::ZERO);

    /// Returns what is known before there is a value.
    pub(crate) fn least(self) -> Duration {
        match self {
            Grace::For(grace) => grace,
            Grace::OfValue => Duration::ZERO,
        }
    }

    /// Returns the grace of a value, which `stored` says of itself, in seconds.
    pub(crate) fn of(self, stored: Option<u32>) -> Duration {
        match self {
            Grace::For(grace) => grace,
            Grace::OfValue => Duration::from_secs(stored.unwrap_or(0).into()),
        }
    }
}

/// How long a value is kept, as far as it says so itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnTimes {
    pub(crate) ttl: Option<Ttl>,
    pub(crate) grace: Option<Duration>,
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
        let (ahead, single_flight) = (Ahead::Never, SingleFlight::Lease);
        Freshness { ttl, grace: Grace::NONE, idle: None, ahead, near: None, single_flight }
    }

    /// Returns the choices for a value that says some of them itself.
    pub(crate) fn with(self, own: OwnTimes) -> Self {
        let own_grace = |grace: Duration| if grace.is_zero() { grace } else { whole_seconds(grace).min(LONGEST_GRACE) };
        let grace = own.grace.map_or(self.grace.least(), own_grace);
        Freshness { ttl: own.ttl.unwrap_or(self.ttl), grace: Grace::For(grace), ..self }
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

    /// Shortens the near time, so that hits reach the store before the idle time is over.
    pub(crate) fn near_within_idle(&mut self) {
        if let (Some(near), Some(idle)) = (&mut self.near, self.idle) {
            *near = (*near).min(idle / 4);
        }
    }

    /// Returns the time left below which the server elects a caller to refresh an
    /// item.
    pub(crate) fn refresh_window(&self) -> Duration {
        // Servers count whole seconds: how much is left of the last one is unknown.
        let grace = self.grace.least();
        let stale = if grace.is_zero() { grace } else { grace.saturating_add(SECOND) };
        match self.ahead {
            Ahead::Of(window) => stale.saturating_add(window),
            Ahead::Never | Ahead::Auto => stale,
        }
    }

    /// Returns the age of an item's value. `grace` is how many seconds of the item's
    /// time are behind its ttl; an item that does not say is taken for one of this site.
    pub(crate) fn age(&self, item: &Item, grace: Option<u32>) -> Age {
        let served = self.grace.of(grace).as_secs();
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

    /// Returns how long to keep a value that is stored now; `chance` is drawn from 0 to 1.
    /// Grace and an idle time need a server that reports the time left: otherwise no
    /// reader can tell when the one begins and the other ends.
    pub(crate) fn keeping(&self, tells_time: bool, jitter: Jitter, chance: f64) -> Keeping {
        let grace = if tells_time { self.grace.least() } else { Duration::ZERO };
        let (fresh, item) = match shortened(self.ttl, jitter, chance) {
            Ttl::Forever => (Ttl::Forever, Ttl::Forever),
            Ttl::For(ttl) if grace.is_zero() => (Ttl::For(ttl), Ttl::For(ttl)),
            Ttl::For(ttl) => (Ttl::For(ttl), Ttl::For(ttl.min(LONGEST_BESIDE_GRACE).saturating_add(grace))),
        };
        let whole = Keeping { item, fresh, grace: seconds(grace), end: 0 };
        match (self.idle, fresh) {
            (Some(idle), Ttl::For(fresh)) if fresh <= idle => whole,
            (Some(idle), _) if tells_time => {
                let end = item.seconds().map_or(u32::MAX, |end| u32::try_from(end).unwrap_or(u32::MAX));
                Keeping { item: Ttl::For(idle.saturating_add(grace)), fresh: Ttl::For(idle), end, ..whole }
            }
            _ => whole,
        }
    }

    /// Returns what an item's envelope is to say so that its end is pushed forward, if
    /// half of its idle time is over and its ttl leaves room for that.
    pub(crate) fn pushed(&self, times: Times, left: u64) -> Option<Times> {
        let grace = Duration::from_secs(times.grace.into());
        let idle = self.idle.filter(|_| times.end > 0)?;
        let is_due = Duration::from_secs(left).saturating_sub(grace) <= idle / 2;
        // The second that is under way counts as over, so that no end comes too late.
        let age = u32::try_from(age(times, left)?.as_secs()).ok()?.saturating_add(1);
        let most = if times.end == u32::MAX { u32::MAX } else { times.end.saturating_sub(age) };
        let kept = seconds(idle.saturating_add(grace)).min(most);
        (is_due && u64::from(kept) > left.saturating_add(1)).then_some(Times { kept, age, ..times })
    }
}

/// Rounds up to whole seconds: the server knows nothing finer.
pub(crate) fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(Ttl::For(duration).seconds().unwrap_or(0))
}

/// How long a value is kept that is stored now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Keeping {
    /// As an item.
    pub(crate) item: Ttl,
    /// How long of that it is fresh.
    pub(crate) fresh: Ttl,
    /// For how many seconds after that it may be served.
    pub(crate) grace: u32,
    /// How many seconds it may be kept at most, if hits push its end forward; otherwise
    /// zero.
    pub(crate) end: u32,
}

impl Keeping {
    /// Returns what the envelope says of it.
    pub(crate) fn times(&self, cost: u64, stamps: Option<Stamps>) -> Times {
        let kept = self.item.seconds().map_or(0, |kept| u32::try_from(kept).unwrap_or(u32::MAX));
        Times { cost, grace: self.grace, kept, age: 0, end: self.end, stamps }
    }
}

/// Returns the age of a value whose item is kept for this many more seconds, if it is known.
pub(crate) fn age(times: Times, left: u64) -> Option<Duration> {
    let since = u64::from(times.kept).checked_sub(left).filter(|_| times.kept > 0)?;
    Some(Duration::from_secs(since.saturating_add(times.age.into())))
}

fn seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Shortens a ttl at random, by at most the jitter.
fn shortened(ttl: Ttl, Jitter(percent): Jitter, chance: f64) -> Ttl {
    match ttl {
        Ttl::Forever => Ttl::Forever,
        // Ttls are sent in whole seconds, rounded up, so short ones stay as they are.
        Ttl::For(ttl) => Ttl::For(ttl.min(LONGEST).mul_f64(1.0 - f64::from(percent) / 100.0 * chance.clamp(0.0, 1.0))),
    }
}

/// Whether a caller refreshes early, as in Vattani, Chierichetti and Lowenstein, *Optimal
/// Probabilistic Cache Stampede Prevention*, VLDB 2015, with β = 1; `chance` is above 0.
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
        let freshness = Freshness { grace: Grace::For(secs(60)), ..plain };
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
            let freshness = Freshness { grace: Grace::For(secs(site)), ..Freshness::of(Ttl::For(secs(300))) };
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
        let freshness = Freshness { grace: Grace::For(secs(60)), ..Freshness::of(Ttl::For(secs(300))) };
        let item = |freshness: Freshness, tells, jitter, chance| freshness.keeping(tells, jitter, chance).item;
        assert_eq!(item(freshness, true, TENTH, 0.0), Ttl::For(secs(360)));
        assert_eq!(item(freshness, true, TENTH, 1.0), Ttl::For(secs(330)));
        assert_eq!(item(freshness, false, TENTH, 0.0), Ttl::For(secs(300)));
        assert_eq!(item(freshness, true, Jitter(0), 1.0), Ttl::For(secs(360)));
        assert_eq!(item(Freshness::of(Ttl::Forever), true, TENTH, 0.5), Ttl::Forever);
    }

    #[test]
    fn an_idle_time_ends_a_value_before_its_ttl_where_the_server_tells_the_time() {
        let idle = |ttl, idle: u64| Freshness { idle: Some(secs(idle)), ..Freshness::of(ttl) };
        let keeping = |freshness: Freshness, tells| freshness.keeping(tells, Jitter(0), 0.5);
        let hour = idle(Ttl::For(secs(3_600)), 600);
        let (item, fresh) = (Ttl::For(secs(600)), Ttl::For(secs(600)));
        assert_eq!(keeping(hour, true), Keeping { item, fresh, grace: 0, end: 3_600 });
        let graced = Freshness { grace: Grace::For(secs(60)), ..hour };
        assert_eq!(keeping(graced, true), Keeping { item: Ttl::For(secs(660)), fresh, grace: 60, end: 3_660 });
        assert_eq!(keeping(idle(Ttl::Forever, 600), true).end, u32::MAX);
        assert_eq!(keeping(hour, false).item, Ttl::For(secs(3_600)));
        assert_eq!(keeping(idle(Ttl::For(secs(60)), 600), true).end, 0);
    }

    #[test]
    fn hits_push_an_idle_end_forward_and_never_beyond_the_ttl() {
        let freshness = Freshness { idle: Some(secs(600)), ..Freshness::of(Ttl::For(secs(3_600))) };
        for asked_at in [300, 301, 400, 599] {
            let mut times = freshness.keeping(true, Jitter(0), 0.0).times(0, None);
            let (mut now, mut left) = (0, 600_u64);
            let mut pushes = 0;
            // Each hit comes when so much of the time is over.
            while left > asked_at.min(left) {
                now += asked_at;
                left -= asked_at;
                if let Some(pushed) = freshness.pushed(times, left) {
                    (times, left, pushes) = (pushed, pushed.kept.into(), pushes + 1);
                    assert!(now + left <= 3_600, "it ends {} s after it was stored", now + left);
                } else {
                    break;
                }
            }
            assert!(pushes >= 5, "{pushes} pushes");
            assert!(now + left > 3_580, "it ends {} s after it was stored", now + left);
        }
        let times = freshness.keeping(true, Jitter(0), 0.0).times(0, None);
        assert_eq!(freshness.pushed(times, 301), None);
        assert_eq!(freshness.pushed(Times { end: 0, ..times }, 10), None);
        assert_eq!(Freshness { idle: None, ..freshness }.pushed(times, 10), None);
        // Another client has touched the item.
        assert_eq!(freshness.pushed(times, 601), None);
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
