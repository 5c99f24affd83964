//! The end of what goes on in the background, before the process ends.

use std::time::{Duration, Instant};

use crate::call::machine::wait::pause;
#[cfg(feature = "tokio")]
use crate::detached;
#[cfg(feature = "tokio")]
use crate::time::timer;
use crate::writing::late;

/// What was still under way when [`drain`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Refreshes, stores and leases given back whose callers are gone.
    pub tasks: usize,
    /// Entries that writers have changed and that their servers have not removed yet.
    pub invalidations: usize,
}

impl Drained {
    /// Returns whether nothing was left.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.tasks == 0 && self.invalidations == 0
    }

    /// Counts what is under way now.
    fn now() -> Self {
        #[cfg(feature = "tokio")]
        let tasks = detached::running();
        #[cfg(not(feature = "tokio"))]
        let tasks = 0;
        Drained { tasks, invalidations: late::left() }
    }

    /// Returns what is left, once that is nothing or the limit is over.
    fn by(until: Option<Instant>) -> Option<Self> {
        let left = Drained::now();
        let is_over = until.is_some_and(|until| Instant::now() >= until);
        (left.is_complete() || is_over).then_some(left)
    }
}

/// How often it is looked whether all is done.
const LOOK: Duration = Duration::from_millis(5);

/// Ends what this crate does in the background of this process: waits for it, at most for
/// this long, and returns what is left.
///
/// Nothing begins there afterwards, for the rest of the process. Calls still work: a call
/// that finds an old value computes the new one itself, and stores it before it returns. A
/// future that is dropped while it stores does not store the value, and its lease ends by
/// itself within seconds. What writers leave behind is still removed as long as the process
/// lives: drain again to wait for that. The list of what was written elsewhere while a
/// server was out (`failover`) is not waited for.
///
/// It blocks the thread. On the only thread of a runtime, nothing would get done: use
/// `drain_async` there.
///
/// ```
/// use std::time::Duration;
///
/// // The last thing that a program does.
/// let left = memocached::drain(Duration::from_secs(5));
/// assert!(left.is_complete());
/// ```
pub fn drain(limit: Duration) -> Drained {
    let until = end(limit);
    wait(until)
}

/// Ends what goes on in the background as [`drain`] does, yielding to the runtime.
///
/// With axum it comes after the last request:
///
/// ```no_run
/// # async fn axum_serve() -> std::io::Result<()> { Ok(()) }
/// # async fn run() -> std::io::Result<()> {
/// // axum::serve(listener, app).with_graceful_shutdown(asked_to_stop()).await?;
/// # axum_serve().await?;
/// let left = memocached::drain_async(std::time::Duration::from_secs(5)).await;
/// if !left.is_complete() {
///     eprintln!("stopped before the cache was up to date: {left:?}");
/// }
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "tokio")]
pub async fn drain_async(limit: Duration) -> Drained {
    let until = end(limit);
    wait_async(until).await
}

/// Lets nothing begin any more. Returns the end of the limit, unless it is beyond all time.
fn end(limit: Duration) -> Option<Instant> {
    #[cfg(feature = "tokio")]
    detached::end();
    Instant::now().checked_add(limit)
}

/// Waits until nothing is left, or until then.
fn wait(until: Option<Instant>) -> Drained {
    loop {
        if let Some(left) = Drained::by(until) {
            return left;
        }
        pause(LOOK);
    }
}

/// Waits as [`wait`] does, yielding to the runtime.
#[cfg(feature = "tokio")]
async fn wait_async(until: Option<Instant>) -> Drained {
    loop {
        if let Some(left) = Drained::by(until) {
            return left;
        }
        timer::sleep(LOOK).await;
    }
}

/// How long tests wait; what takes longer will not end.
#[cfg(feature = "testing")]
const LONGEST: Duration = Duration::from_secs(60);

/// Waits until what has begun in the background of this process has ended: refreshes, and
/// the removal of entries whose server did not answer their writer.
///
/// Unlike [`drain`](crate::drain()), it lets more begin afterwards. It waits for what tests
/// beside this one have begun as well. On the only thread of a runtime, nothing would get
/// done meanwhile: use [`settled_async`](crate::testing::settled_async) there.
///
/// # Panics
///
/// If something goes on for longer than a minute, such as a removal while
/// [`faults`](crate::Cache::faults) keep the store down.
#[cfg(feature = "testing")]
#[track_caller]
pub fn settled() {
    check(wait(Instant::now().checked_add(LONGEST)));
}

/// Waits as [`settled`](crate::testing::settled) does, yielding to the runtime.
///
/// ```
/// use std::time::Duration;
///
/// use memocached::testing::{assert_hit, assert_miss, assert_stale, settled_async, with_cache_async};
/// use memocached::{Cache, memcached};
///
/// #[memcached(key = "rate:<currency>", ttl = 60, grace = 600)]
/// async fn rate(currency: u32) -> u32 {
///     currency * 2
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let cache = Cache::embedded();
/// let clock = cache.clock();
/// with_cache_async(&cache, async {
///     assert_miss!(rate(1).await);
///     clock.advance(Duration::from_secs(60));
///     assert_stale!(rate(1).await); // refreshed in the background
///     settled_async().await;
///     assert_hit!(rate(1).await);
/// })
/// .await;
/// # });
/// ```
#[cfg(all(feature = "testing", feature = "tokio"))]
pub async fn settled_async() {
    check(wait_async(Instant::now().checked_add(LONGEST)).await);
}

/// Panics if something is left.
#[cfg(feature = "testing")]
#[track_caller]
fn check(left: Drained) {
    let Drained { tasks, invalidations } = left;
    assert!(
        left.is_complete(),
        "after {LONGEST:?} there is still work in the background: {tasks} tasks, and {invalidations} entries to remove"
    );
}
