//! An annotated function, as the expansion describes it.

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

/// A function and what telemetry keeps for it.
#[derive(Debug)]
pub struct Site {
    description: Description,
    telemetry: OnceLock<SiteTelemetry>,
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
            seen: Seen::new(),
            pace: Pace::new(),
            places: Places::new(usize::MAX),
            #[cfg(feature = "tokio")]
            refreshes: Refreshes::new(),
        }
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
            register(self);
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

/// Registers a site that is called for the first time. Two functions with one template share
/// their entries, which may be intended (two versions of one function), so that is logged and
/// not refused.
fn register(site: &'static Site) {
    let mut called = lock(&CALLED);
    let template = site.description.template;
    let same: Vec<_> = called.iter().filter(|other| other.description.template == template).collect();
    // Once for each template, not once for each further function.
    if let [other] = same[..] {
        telemetry::announce_shared_template(template, other.description.path, site.description.path);
    }
    called.push(site);
}
