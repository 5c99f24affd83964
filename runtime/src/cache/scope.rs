//! The cache that a part of a test uses in place of the process-wide one.
//!
//! Like a mode it belongs to the current thread while a closure runs, or to a future
//! whenever it is polled. The tasks of a runtime that has one thread share it.

use std::cell::RefCell;
#[cfg(feature = "tokio")]
use std::future::poll_fn;
#[cfg(feature = "tokio")]
use std::pin::pin;
#[cfg(feature = "tokio")]
use std::sync::{Arc, Weak};

#[cfg(feature = "tokio")]
use tokio::runtime::{Handle, Id, RuntimeFlavor};
#[cfg(feature = "tokio")]
use tokio::task;

use crate::cache::Cache;

thread_local! {
    /// The cache in place of the process-wide one, on this thread and now.
    static CURRENT: RefCell<Option<Cache>> = const { RefCell::new(None) };
    /// The caches of futures that run on this thread's runtime.
    #[cfg(feature = "tokio")]
    static RUNNING: RefCell<Vec<RunningScope>> = const { RefCell::new(Vec::new()) };
}

/// Runs `work` with this cache in place of the process-wide one, on this thread.
///
/// Functions, entries and groups that name no cache use it; an attribute's own
/// `cache = …` and [`Group::of_cache`](crate::Group::of_cache) win. Calls nest, and the
/// innermost one applies. Nothing else sees it: tests that run at the same time each have
/// their own.
///
/// What `work` starts on other threads uses the process-wide cache: call this there as
/// well. A runtime of one thread that `work` blocks on runs its tasks here, so they use
/// the cache, too.
///
/// ```
/// use memocached::testing::{assert_hit, assert_miss, with_cache};
/// use memocached::{Cache, memcached};
///
/// #[memcached(key = "square:<n>", ttl = 60)]
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let (one, other) = (Cache::embedded(), Cache::embedded());
/// with_cache(&one, || assert_miss!(square(12)));
/// with_cache(&other, || assert_miss!(square(12)));
/// assert_eq!(with_cache(&one, || assert_hit!(square(12))), 144);
/// ```
pub fn with_cache<R>(cache: &Cache, work: impl FnOnce() -> R) -> R {
    let _before = enter(cache);
    work()
}

/// Runs a future with this cache in place of the process-wide one, like
/// [`with_cache`].
///
/// The cache follows the future between threads and does not affect other futures of
/// the same task. A task that the future spawns has the cache as well, as long as the
/// future runs, on a runtime of one thread: such as that of `#[tokio::test]`. On a runtime
/// of several threads, and with `spawn_blocking`, wrap what is spawned:
/// `tokio::spawn(with_cache_async(&cache, work))`. A refresh in the background keeps the
/// cache of its call anyway.
///
/// # Panics
///
/// In a task that was spawned on a runtime where futures with different caches run: which
/// of them it belongs to cannot be told.
#[cfg(feature = "tokio")]
pub fn with_cache_async<F: Future>(cache: &Cache, work: F) -> impl Future<Output = F::Output> + use<F> {
    let cache = Some(cache).cloned();
    async move {
        let _running = cache.as_ref().map(RunningScope::begin);
        within(cache, work).await
    }
}

/// Makes a future that goes on by itself use the cache that is used now.
#[cfg(feature = "tokio")]
pub(super) fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    within(current(), work)
}

#[cfg(feature = "tokio")]
async fn within<F: Future>(cache: Option<Cache>, work: F) -> F::Output {
    let mut work = pin!(work);
    poll_fn(|context| {
        let _before = cache.as_ref().map(enter);
        work.as_mut().poll(context)
    })
    .await
}

/// Returns the cache in place of the process-wide one, if there is one.
pub(super) fn current() -> Option<Cache> {
    let current = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
    #[cfg(feature = "tokio")]
    let current = current.or_else(inherited);
    current
}

/// Restores the cache before when dropped, even by a panic.
struct CacheBefore(Option<Cache>);

fn enter(cache: &Cache) -> CacheBefore {
    CacheBefore(CURRENT.replace(Some(cache).cloned()))
}

impl Drop for CacheBefore {
    fn drop(&mut self) {
        // Dropped here, not while it is borrowed.
        let _ended = CURRENT.try_with(|current| current.replace(self.0.take()));
    }
}

/// A future with a cache that runs on a runtime of one thread.
#[cfg(feature = "tokio")]
struct RunningScope {
    runtime: Id,
    /// The future's own task; `None` if the runtime was blocked on with it.
    task: Option<task::Id>,
    is_running: Weak<()>,
    cache: Cache,
}

#[cfg(feature = "tokio")]
impl RunningScope {
    /// Lets tasks that are spawned have the cache, until what this returns is dropped.
    fn begin(cache: &Cache) -> Arc<()> {
        let running = Arc::new(());
        if let Ok(handle) = Handle::try_current()
            && handle.runtime_flavor() == RuntimeFlavor::CurrentThread
        {
            let (runtime, task, is_running) = (handle.id(), task::try_id(), Arc::downgrade(&running));
            RUNNING.with_borrow_mut(|scopes| {
                scopes.retain(|scope| scope.is_running.strong_count() > 0);
                scopes.push(RunningScope { runtime, task, is_running, cache: cache.clone() });
            });
        }
        running
    }
}

/// Returns the cache of the future that has spawned the current task.
#[cfg(feature = "tokio")]
fn inherited() -> Option<Cache> {
    let (task, runtime) = (task::try_id()?, Handle::try_current().ok()?.id());
    let caches = RUNNING.try_with(|scopes| {
        let scopes = scopes.borrow();
        let is_around = |scope: &&RunningScope| {
            scope.runtime == runtime && scope.task != Some(task) && scope.is_running.strong_count() > 0
        };
        scopes.iter().filter(is_around).map(|scope| scope.cache.clone()).collect::<Vec<_>>()
    });
    let mut caches = caches.ok()?.into_iter();
    let cache = caches.next()?;
    let is_only = caches.all(|other| Arc::ptr_eq(other.store(), cache.store()));
    assert!(is_only, "futures with different caches run here: wrap what is spawned in `with_cache_async`");
    Some(cache)
}
