//! The process-wide cache: configured by the environment on first use, or
//! installed by the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, RwLock};

use crate::cache::Cache;
use crate::sync::{read, write};
use crate::telemetry;

/// The first one, which is there for as long as the process, so that calls can
/// do with a reference to it. `None` if nothing can be cached.
static FIRST: OnceLock<Option<Cache>> = OnceLock::new();

/// What has taken its place, if anything has.
static LATER: RwLock<Option<Cache>> = RwLock::new(None);
static IS_REPLACED: AtomicBool = AtomicBool::new(false);

/// Makes `cache` the one that functions use from now on, unless they name
/// another with `cache = …`.
///
/// Install it before the first call: the first cache that a process has, be it
/// installed or configured by the environment, is there to the end. When
/// another takes its place, it keeps its connections and values, and its
/// servers stay in the metrics.
pub fn install(cache: Cache) {
    if let Err(later) = FIRST.set(Some(cache)) {
        let replaced = std::mem::replace(&mut *write(&LATER), later);
        IS_REPLACED.store(true, Ordering::Release);
        // With nothing locked, as it may have connections to close.
        drop(replaced);
    }
}

/// The process-wide cache; in `room` unless it is there for as long as the
/// process. A configuration that cannot be used is told once, and functions
/// compute from then on.
#[inline]
pub(crate) fn cache(room: &mut Option<Cache>) -> Option<&Cache> {
    if IS_REPLACED.load(Ordering::Acquire) {
        room.clone_from(&read(&LATER));
        return room.as_ref();
    }
    let configured = || Cache::from_env().map_err(|error| telemetry::announce_unusable(&error)).ok();
    FIRST.get_or_init(configured).as_ref()
}
