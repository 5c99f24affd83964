//! What a call is about: its site, its cache, its freshness and its key.
//!
//! Nothing is asked of a store here, but a value that this process keeps is
//! looked up: it comes before everything else.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::freshness::{Ahead, Freshness, Grace, LONGEST_GRACE, SingleFlight, whole_seconds};
use super::group::{Group, IsGroup};
use super::machine::Machine;
use super::machine::groups::Groups;
use super::mode::{self, Mode};
use super::site::Site;
use crate::cache::near::{Holds, NearCopy};
use crate::cache::{Cache, global};
use crate::codec::Standard;
use crate::exchange::Ttl;
use crate::key::{Key, KeyBuilder};
use crate::singleflight::pace::Pace;
use crate::telemetry::call::CallSpan;
use crate::telemetry::observing::{self, Observation};

/// What a call is about, before its key is known.
#[derive(Debug)]
pub struct Address {
    site: &'static Site,
    cache: Option<Cache>,
    /// Overrides the cache's ttl.
    ttl: Option<Ttl>,
    freshness: Freshness,
    /// The groups of the value; `None` if one cannot be written.
    groups: Option<Vec<Group>>,
    mode: Mode,
    purpose: Purpose,
}

/// Why a call is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To make it.
    Call,
    /// To make it together with others, which it shares a span with.
    Element,
    /// To handle its entry.
    Entry,
}

impl Address {
    /// Begins a call of the function at `site`.
    #[must_use]
    #[inline]
    pub fn begin(site: &'static Site) -> Self {
        Address { mode: mode::current(), purpose: Purpose::Call, ..Self::of(site) }
    }

    /// Begins one of several calls that are made together.
    #[must_use]
    #[inline]
    pub fn element(site: &'static Site) -> Self {
        Address { mode: mode::current(), purpose: Purpose::Element, ..Self::of(site) }
    }

    /// Addresses a call that is not made.
    #[must_use]
    #[inline]
    pub fn of(site: &'static Site) -> Self {
        let (ttl, freshness) = (site.ttl(), Freshness::of(Ttl::Forever));
        let groups = Some(Vec::new());
        Address { site, cache: None, ttl, freshness, groups, mode: Mode::Normal, purpose: Purpose::Entry }
    }

    /// Bypasses the cache unless `wanted`.
    #[must_use]
    #[inline]
    pub fn when(mut self, wanted: bool) -> Self {
        if !wanted {
            self.mode = Mode::Bypass;
        }
        self
    }

    /// Uses this cache instead of the process-wide one.
    #[must_use]
    #[inline]
    pub fn cache(mut self, cache: &Cache) -> Self {
        self.cache = Some(cache.clone());
        self
    }

    /// Keeps the value this long.
    #[must_use]
    #[inline]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(Ttl::For(ttl));
        self
    }

    /// Serves the value for this long past its ttl, while it is refreshed or
    /// when the refresh fails.
    #[must_use]
    #[inline]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.freshness.grace = Grace::For(whole_seconds(grace).min(LONGEST_GRACE));
        self
    }

    /// Serves each value past its ttl for as long as it says itself.
    #[must_use]
    #[inline]
    pub fn own_grace(mut self) -> Self {
        self.freshness.grace = Grace::OfValue;
        self
    }

    /// Keeps a value no longer than this while no call asks for it.
    #[must_use]
    #[inline]
    pub fn idle(mut self, idle: Duration) -> Self {
        self.freshness.idle = Some(whole_seconds(idle));
        self
    }

    /// Lets one caller refresh the value once less than this is left.
    #[must_use]
    #[inline]
    pub fn refresh_ahead(mut self, window: Duration) -> Self {
        self.freshness.ahead = Ahead::Of(whole_seconds(window));
        self
    }

    /// Lets callers refresh the value before its end, at random.
    #[must_use]
    #[inline]
    pub fn refresh_auto(mut self) -> Self {
        self.freshness.ahead = Ahead::Auto;
        self
    }

    /// Keeps a copy of the value in this process for this long.
    #[must_use]
    #[inline]
    pub fn near(mut self, near: Duration) -> Self {
        self.freshness.near = Some(near);
        self
    }

    /// Computes the value once at a time among these callers.
    #[must_use]
    #[inline]
    pub fn single_flight(mut self, among: SingleFlight) -> Self {
        self.freshness.single_flight = among;
        self
    }

    /// Puts the value into this group.
    #[must_use]
    #[inline]
    pub fn group(mut self, group: &impl IsGroup) -> Self {
        let group = group.group();
        self.groups = self.groups.take().filter(|_| group.is_usable());
        self.groups.iter_mut().for_each(|groups| groups.push(group.clone()));
        self
    }

    /// Chooses the cache and writes the key. Each site has a closure of its own
    /// for that; it comes as an object, so that this is compiled once.
    #[must_use]
    pub fn key(&self, write: &mut dyn FnMut(&mut KeyBuilder)) -> Addressed {
        let mut room = None;
        let cache = self.usable_cache(&mut room);
        match cache {
            Some(cache) if self.purpose == Purpose::Call && self.freshness.near.is_some() => {
                self.key_near(cache, write)
            }
            _ => self.key_far(cache, write),
        }
    }

    fn key_far(&self, cache: Option<&Cache>, write: &mut dyn FnMut(&mut KeyBuilder)) -> Addressed {
        let site = self.site;
        let span = (self.purpose == Purpose::Call).then(|| site.telemetry().open());
        let near = cache.filter(|_| self.purpose == Purpose::Element && self.freshness.near.is_some() && self.reads());
        let target = cache.and_then(|cache| {
            let mut write = || {
                let mut key = KeyBuilder::new(cache.namespace());
                write(&mut key);
                key.finish()
            };
            let key = match &span {
                Some(span) => span.serialize_key(write),
                None => write(),
            };
            Some(self.target(cache, key?))
        });
        let near = near.zip(target.as_ref()).and_then(|(cache, target)| cache.near().find(target.key.wire()));
        Addressed::far(site, target, near, span)
    }

    /// Writes the key of a call whose value this process may keep, which is not
    /// worth a span.
    #[inline]
    fn key_near(&self, cache: &Cache, write: &mut dyn FnMut(&mut KeyBuilder)) -> Addressed {
        let mut key = KEY.try_with(Cell::take).ok().flatten().unwrap_or_else(|| Box::new(KeyBuilder::empty()));
        key.begin(cache.namespace());
        write(&mut key);
        if self.reads()
            && self.is_ungrouped()
            && let Some(wire) = key.wire()
            && let Some(copy) = cache.near().find_plain(wire)
        {
            let owner = key.key_owner();
            let observation = if observing::is_on() { self.observe_near(key.text(), wire) } else { None };
            let _ = KEY.try_with(|spare| spare.set(Some(key)));
            let tier = Tier::Near { copy, configured: *cache.codec(), owner, observation };
            return Addressed { site: self.site, tier };
        }
        self.beside_near(cache, *key)
    }

    #[cold]
    fn observe_near(&self, key: &str, stored_key: &str) -> Option<Observation> {
        self.site.telemetry().observe().inspect(|call| call.at(key, stored_key))
    }

    #[cold]
    fn beside_near(&self, cache: &Cache, key: KeyBuilder) -> Addressed {
        let key = key.finish();
        let near = key.as_ref().filter(|_| self.reads()).and_then(|key| cache.near().find(key.wire()));
        let span = if near.is_none() { Some(self.site.telemetry().open()) } else { None };
        Addressed::far(self.site, key.map(|key| self.target(cache, key)), near, span)
    }

    fn is_ungrouped(&self) -> bool {
        self.groups.as_ref().is_some_and(Vec::is_empty)
    }

    fn reads(&self) -> bool {
        matches!(self.mode, Mode::Normal | Mode::ReadOnly)
    }

    fn target(&self, cache: &Cache, key: Key) -> Target {
        let ttl = self.ttl.unwrap_or_else(|| cache.ttl());
        let mut freshness = Freshness { ttl, ..self.freshness };
        let narrowed = freshness.narrow();
        freshness.near_within_idle();
        let groups = match &self.groups {
            Some(groups) if !groups.is_empty() => groups.iter().map(|group| group.stamp_key(cache)).collect(),
            _ => Arc::default(),
        };
        Target { cache: cache.clone(), key, freshness, groups, mode: self.mode, narrowed }
    }

    #[inline]
    fn usable_cache<'a>(&'a self, room: &'a mut Option<Cache>) -> Option<&'a Cache> {
        if self.mode == Mode::Bypass || self.groups.is_none() {
            return None;
        }
        let cache = match &self.cache {
            Some(cache) => cache,
            None => global::cache(room)?,
        };
        // Switching a function off concerns its calls. What other processes
        // cached can still be invalidated.
        (self.purpose == Purpose::Entry || cache.caches(self.site.name())).then_some(cache)
    }
}

thread_local! {
    /// A spare key for near lookups: allocating one takes as long as the lookup.
    static KEY: Cell<Option<Box<KeyBuilder>>> = const { Cell::new(None) };
}

/// Where a call's value belongs.
pub(super) struct Target {
    pub(super) cache: Cache,
    pub(super) key: Key,
    freshness: Freshness,
    groups: Arc<[String]>,
    mode: Mode,
    /// The window for a refresh, if it was too wide for the ttl.
    narrowed: Option<Duration>,
}

impl Target {
    fn describe(&self, span: &mut CallSpan) {
        span.ttl(self.freshness.ttl);
        span.at(self.key.text(), self.key.wire());
        if let Some(window) = self.narrowed {
            span.too_wide(window, self.freshness.ttl);
        }
        if self.cache.records_keys() {
            span.key(self.key.text());
        }
    }

    /// Returns the machine of the call; what this process holds of a value is up to its type.
    pub(super) fn machine(self, pace: &'static Pace, holds: Holds) -> Machine {
        Machine::new(self.cache, self.key, self.freshness, Groups::new(self.groups), self.mode, pace, holds)
    }

    /// Whether the value is in groups.
    pub(super) fn is_grouped(&self) -> bool {
        !self.groups.is_empty()
    }
}

/// A call whose key is known.
pub struct Addressed {
    pub(super) site: &'static Site,
    pub(super) tier: Tier,
}

/// Where the value is looked for first.
pub(super) enum Tier {
    /// This process has it.
    Near {
        copy: Arc<NearCopy>,
        /// The cache's codec.
        configured: Standard,
        /// The key's owner.
        owner: u64,
        /// The call's record, if it is observed.
        observation: Option<Observation>,
    },
    /// The store is asked. In a box, because it is large and handed on often.
    Far(Box<Far>),
}

/// A call whose value is not at hand, or is to be looked at first.
pub(super) struct Far {
    /// Absent where nothing is cached.
    pub(super) target: Option<Target>,
    /// What this process keeps under the key, if it is no plain value.
    pub(super) near: Option<Arc<NearCopy>>,
    /// Absent where no call is made, or has not begun.
    pub(super) span: Option<CallSpan>,
}

impl Far {
    /// Returns the call's span, which begins now unless it has.
    pub(super) fn span(&mut self, site: &'static Site) -> &CallSpan {
        self.span.get_or_insert_with(|| site.telemetry().open())
    }
}

impl Addressed {
    fn far(
        site: &'static Site,
        target: Option<Target>,
        near: Option<Arc<NearCopy>>,
        mut span: Option<CallSpan>,
    ) -> Self {
        if let Some(span) = &mut span {
            match &target {
                Some(target) => target.describe(span),
                None => span.bypassed(),
            }
        }
        Addressed { site, tier: Tier::Far(Box::new(Far { target, near, span })) }
    }

    /// Returns the cache's codec.
    pub(super) fn configured(&self) -> Option<&Standard> {
        match &self.tier {
            Tier::Near { configured, .. } => Some(configured),
            Tier::Far(far) => far.target.as_ref().map(|target| target.cache.codec()),
        }
    }
}
