//! The process-wide cache: configured by the environment on first use, or
//! installed by the program.
//!
//! Reading the environment is left to `config`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{OnceLock, RwLock};

use crate::cache::Cache;
#[cfg(feature = "testing")]
use crate::cache::scope;
use crate::sync::{read, write};
use crate::telemetry;
use crate::time::servant::survive;

/// The first cache, which lives as long as the process, so that calls can borrow
/// it. `None` if it could not be configured.
static FIRST: OnceLock<Option<Cache>> = OnceLock::new();

/// The cache that replaced the first one, if any.
static LATER: RwLock<Option<Cache>> = RwLock::new(None);
static IS_REPLACED: AtomicBool = AtomicBool::new(false);

/// Makes functions use `cache` from now on, unless they name another with
/// `cache = …`.
///
/// Install it before the first call. The first cache of a process, whether
/// installed or configured by the environment, lives until the process ends. If
/// another cache replaces it, it keeps its connections and values, and its servers
/// stay in the metrics.
pub fn install(cache: Cache) {
    if let Err(later) = FIRST.set(Some(cache)) {
        let replaced = std::mem::replace(&mut *write(&LATER), later);
        IS_REPLACED.store(true, Ordering::Release);
        // Dropped after the lock is released: it may have connections to close.
        drop(replaced);
    }
}

/// Returns the process-wide cache, borrowed from `room` if it has been replaced. A
/// configuration that cannot be used is reported once; functions then compute
/// without a cache. A test may have another cache in its place.
#[inline]
pub(crate) fn cache(room: &mut Option<Cache>) -> Option<&Cache> {
    #[cfg(feature = "testing")]
    if let Some(cache) = scope::current() {
        return Some(room.insert(cache));
    }
    if IS_REPLACED.load(Ordering::Acquire) {
        room.clone_from(&read(&LATER));
        return room.as_ref();
    }
    FIRST.get().unwrap_or_else(configured).as_ref()
}

/// Configures the first cache by the environment, unless another thread does.
#[cold]
fn configured() -> &'static Option<Cache> {
    let mut configured = None;
    let first = FIRST.get_or_init(|| configured.insert(Cache::unannounced()).as_ref().ok().cloned());
    if let Some(configured) = configured {
        // Telling of it runs other people's code, which may call such functions.
        survive(|| Cache::announced(configured).map_err(|error| telemetry::announce_unusable(&error)));
    }
    first
}

/// Makes a future that goes on by itself use the same cache as its caller.
#[cfg(feature = "tokio")]
pub(crate) fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    #[cfg(feature = "testing")]
    let work = scope::carried(work);
    work
}
