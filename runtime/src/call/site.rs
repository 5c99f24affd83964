//! An annotated function, as the expansion describes it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

#[cfg(feature = "tokio")]
use super::background::Refreshes;
use crate::exchange::Ttl;
use crate::singleflight::pace::Pace;
use crate::singleflight::places::{Admitted, Places};
use crate::sync::lock;
use crate::telemetry;
use crate::telemetry::site::SiteTelemetry;
use crate::value::likeness::Seen;

/// The sites that have been called.
static CALLED: Mutex<Vec<&Site>> = Mutex::new(Vec::new());
/// The sites of whose values it is known how they are stored.
static STORING: Mutex<Vec<&Site>> = Mutex::new(Vec::new());

/// What the attribute knows about a function: literals only.
#[derive(Debug)]
pub struct Description {
    /// The function's name; names its span.
    pub function: &'static str,
    /// The function's path.
    pub path: &'static str,
    /// The name in metrics: the attribute's, or the function's path.
    pub name: &'static str,
    /// The key's template.
    pub template: &'static str,
    /// The attribute's ttl.
    pub ttl: SiteTtl,
    /// The attribute's version.
    pub version: u32,
    /// Where the function stands.
    pub file: &'static str,
    /// Where the function stands.
    pub line: u32,
}

/// The attribute's ttl.
#[derive(Clone, Copy, Debug)]
pub enum SiteTtl {
    /// Left to the cache, or given for each call.
    Unset,
    /// For ever.
    Forever,
    /// Milliseconds.
    Millis(u64),
}

/// For how much a body computes values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Computes {
    One,
    Each,
}

/// A function and what telemetry keeps for it.
#[derive(Debug)]
pub struct Site {
    description: Description,
    telemetry: OnceLock<SiteTelemetry>,
    computes: Computes,
    /// How its values are stored; those of generic functions may differ, and the first counts.
    form: OnceLock<u64>,
    /// Whether it has been told that another site has the same template.
    is_told: AtomicBool,
    seen: Seen,
    pace: Pace,
    places: Places,
    #[cfg(feature = "tokio")]
    refreshes: Refreshes,
}

impl Site {
    /// Creates a site that has not been called yet.
    #[must_use]
    pub const fn new(description: Description) -> Self {
        Site {
            description,
            telemetry: OnceLock::new(),
            computes: Computes::One,
            form: OnceLock::new(),
            is_told: AtomicBool::new(false),
            seen: Seen::new(),
            pace: Pace::new(),
            places: Places::new(usize::MAX),
            #[cfg(feature = "tokio")]
            refreshes: Refreshes::new(),
        }
    }

    /// Computes values of several elements at once.
    #[must_use]
    pub const fn each(mut self) -> Self {
        self.computes = Computes::Each;
        self
    }

    /// Lets at most so many bodies run at once.
    ///
    /// # Panics
    ///
    /// If that is none.
    #[must_use]
    pub const fn at_most(mut self, bodies: usize) -> Self {
        assert!(bodies > 0, "`at_most` is at least 1");
        self.places.limit(bodies);
        self
    }

    /// Registers the site with its first call.
    #[inline]
    pub(crate) fn telemetry(&'static self) -> &'static SiteTelemetry {
        self.telemetry.get_or_init(|| {
            lock(&CALLED).push(self);
            let Description { function, name, template, file, line, .. } = self.description;
            SiteTelemetry::new(function, name, template, (file, line))
        })
    }

    /// Returns what is known of the values that the function has stored.
    pub(crate) fn seen(&'static self) -> &'static Seen {
        &self.seen
    }

    /// Returns how long its computations take.
    pub(crate) fn pace(&'static self) -> &'static Pace {
        &self.pace
    }

    /// Returns the places of its bodies, if it has a limited number.
    #[inline]
    pub(crate) fn places(&'static self) -> Option<&'static Places> {
        self.places.are_limited().then_some(&self.places)
    }

    /// Returns whether a body may begin.
    pub(crate) fn admit(&'static self) -> Admitted {
        self.places().map_or(Admitted::Free, |places| places.admit(&self.pace))
    }

    /// Returns how its refreshes in the background have gone.
    #[cfg(feature = "tokio")]
    pub(crate) fn refreshes(&self) -> &Refreshes {
        &self.refreshes
    }

    pub(crate) fn name(&self) -> &'static str {
        self.description.name
    }

    pub(crate) fn version(&self) -> u32 {
        self.description.version
    }

    pub(crate) fn ttl(&self) -> Option<Ttl> {
        match self.description.ttl {
            SiteTtl::Unset => None,
            SiteTtl::Forever => Some(Ttl::Forever),
            SiteTtl::Millis(millis) => Some(Ttl::For(Duration::from_millis(millis))),
        }
    }
}

/// An annotated function of this process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteInfo {
    /// The function's path.
    pub path: &'static str,
    /// Its name in metrics: the attribute's `name`, or the path.
    pub name: &'static str,
    /// The key's template.
    pub template: &'static str,
    /// The attribute's ttl, if it is a constant.
    pub ttl: Option<Ttl>,
    /// The attribute's version.
    pub version: u32,
    /// The file it stands in, as the compiler was told.
    pub file: &'static str,
    /// The line of its attribute.
    pub line: u32,
}

/// Lists the annotated functions that have been called so far, in the order of
/// their first calls.
#[must_use]
pub fn sites() -> Vec<SiteInfo> {
    lock(&CALLED).iter().map(|site| site.info()).collect()
}

impl Site {
    fn info(&self) -> SiteInfo {
        let Description { path, name, template, version, file, line, .. } = self.description;
        SiteInfo { path, name, template, ttl: self.ttl(), version, file, line }
    }
}

impl Site {
    /// Notes how the function's values are stored, with its first call. Two functions with one
    /// template share their entries, which may be intended (two versions of one function), so
    /// that is logged and not refused.
    #[inline]
    pub(crate) fn stores(&'static self, form: impl FnOnce() -> u64) {
        if self.form.get().is_none()
            && let Some(other) = self.enlist(form())
        {
            let Description { template, path, .. } = self.description;
            telemetry::announce_shared_template(template, other.description.path, path);
        }
    }

    /// Adds the site to the list. Returns another one with its template, unless they are meant
    /// to share: once for each template, not once for each further function.
    #[cold]
    fn enlist(&'static self, form: u64) -> Option<&'static Site> {
        let mut storing = lock(&STORING);
        self.form.set(form).ok()?;
        let template = self.description.template;
        let mut same = storing.iter().copied().filter(|other| other.description.template == template);
        let is_told = same.clone().any(|other| other.is_told.load(Ordering::Relaxed));
        let other = same.find(|other| !is_told && other.place() != self.place() && !self.completes(other));
        self.is_told.store(other.is_some(), Ordering::Relaxed);
        storing.push(self);
        other
    }

    /// Returns where the function stands. It has a site for its calls, and one for its entries.
    fn place(&self) -> (&str, &str, u32) {
        let Description { path, file, line, .. } = self.description;
        (path, file, line)
    }

    /// Whether one of them is for a single element and the other one for many, with the same
    /// values: they are meant to share their entries.
    fn completes(&self, other: &Site) -> bool {
        self.computes != other.computes && self.form.get() == other.form.get()
    }
}
