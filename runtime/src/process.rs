//! The process-wide cache: configured by the environment on first use, or
//! installed by the program.

use std::sync::RwLock;

use crate::cache::Cache;
use crate::sync::{read, write};
use crate::telemetry;

/// `None` before the first use; `Some(None)` if nothing can be cached.
static CACHE: RwLock<Option<Option<Cache>>> = RwLock::new(None);

/// Makes `cache` the one that functions use from now on, unless they name
/// another with `cache = …`.
pub fn install(cache: Cache) {
    *write(&CACHE) = Some(Some(cache));
}

/// The process-wide cache. A configuration that cannot be used is told once,
/// and functions compute from then on.
pub(crate) fn cache() -> Option<Cache> {
    if let Some(known) = &*read(&CACHE) {
        return known.clone();
    }
    let mut place = write(&CACHE);
    // Another caller may have been first.
    if place.is_none() {
        let configured = Cache::from_env().map_err(|error| telemetry::announce_unusable(&error));
        *place = Some(configured.ok());
    }
    place.clone().flatten()
}
