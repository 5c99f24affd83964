//! An annotated function, as the expansion describes it.

use std::sync::OnceLock;
use std::time::Duration;

use crate::exchange::Ttl;
use crate::telemetry::memo::SiteTelemetry;

/// What the attribute knows about a function: literals only.
#[derive(Debug)]
pub struct Description {
    /// The function's name; names its span.
    pub function: &'static str,
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
}

impl Site {
    /// A site that has not been called yet.
    #[must_use]
    pub const fn new(description: Description) -> Self {
        Site { description, telemetry: OnceLock::new() }
    }

    pub(crate) fn telemetry(&self) -> &SiteTelemetry {
        let Description { function, name, template, file, line, .. } = self.description;
        self.telemetry.get_or_init(|| SiteTelemetry::new(function, name, template, (file, line)))
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
