//! What makes tests of memoized functions short: a cache for each, a clock, faults, and
//! assertions about hits. It takes the feature `testing`.
//!
//! ```toml
//! [dev-dependencies]
//! memocached = { version = "0.2", features = ["testing"] }
//! ```
//!
//! Functions that name no cache use the process-wide one. Within [`with_cache`] they use
//! the test's own, so that tests which run at the same time never meet. An
//! [embedded](crate::Cache::embedded) cache needs no server. Its [clock](crate::Cache::clock)
//! moves when the test says, and its [faults](crate::Cache::faults) are those of servers.
//! Nothing sleeps.
//!
//! ```
//! use std::time::Duration;
//!
//! use memocached::memcached;
//!
//! #[memcached(key = "user:<id>", ttl = 60, grace = 30, entry = user_entry)]
//! fn user(id: u64) -> Result<String, String> {
//!     Ok(format!("user {id}"))
//! }
//!
//! # /*
//! #[cfg(test)]
//! # */
//! mod tests {
//!     use memocached::Cache;
//!     use memocached::testing::{assert_hit, assert_miss, assert_stale, with_cache};
//!
//!     use super::*;
//!
//! # /*
//!     #[test]
//! # */
//! #   pub
//!     fn users_are_read_once_a_minute() {
//!         let cache = Cache::embedded();
//!         let clock = cache.clock();
//!         with_cache(&cache, || {
//!             assert_miss!(user(7)).unwrap();
//!             clock.advance(Duration::from_secs(59));
//!             assert_eq!(assert_hit!(user(7)).as_deref(), Ok("user 7"));
//!             user_entry(7).delete().unwrap();
//!             assert_miss!(user(7)).unwrap();
//!         });
//!     }
//!
//! # /*
//!     #[test]
//! # */
//! #   pub
//!     fn users_are_read_while_the_cache_is_down() {
//!         let cache = Cache::embedded();
//!         with_cache(&cache, || {
//!             cache.faults().down();
//!             assert_eq!(assert_miss!(user(7)).as_deref(), Ok("user 7"));
//!         });
//!     }
//! }
//! # fn main() {
//! #     tests::users_are_read_once_a_minute();
//! #     tests::users_are_read_while_the_cache_is_down();
//! # }
//! ```
//!
//! # Async tests
//!
//! `with_cache_async(&cache, work).await` does the same for a future, and the assertions
//! take calls that end with `.await`:
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # fn main() {
//! use memocached::testing::{assert_hit, assert_miss, with_cache_async};
//! use memocached::{Cache, memcached};
//!
//! #[memcached(key = "page:<n>", ttl = 60)]
//! async fn page(n: u64) -> String {
//!     format!("page {n}")
//! }
//!
//! # /*
//! #[tokio::test]
//! # */
//! async fn pages_are_rendered_once() {
//!     let test = async {
//!         assert_miss!(page(1).await);
//!         assert_hit!(page(1).await);
//!         // A task of this runtime has the cache as well.
//!         tokio::spawn(async { assert_hit!(page(1).await) }).await.unwrap();
//!     };
//!     with_cache_async(&Cache::embedded(), test).await;
//! }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(pages_are_rendered_once());
//! # }
//! # #[cfg(not(feature = "tokio"))]
//! # fn main() {}
//! ```
//!
//! # Time
//!
//! Each cache has a clock of its own. Until a test [takes it in hand](crate::Cache::clock)
//! it shows the system's time, or that of a tokio runtime whose clock is paused
//! (`#[tokio::test(start_paused = true)]`, with tokio's feature `test-util`): then
//! `tokio::time::advance` moves the ends of values in an embedded cache, too. Ttls keep
//! their [jitter](crate::Builder::jitter) there, since only taking the clock in hand ends it:
//! values may end a tenth of their ttl earlier.
//!
//! While a call waits for a real server, a paused clock stands still. So the server does not
//! seem to time out, and no other timer of the runtime goes off. The server's own time is not
//! paused.
//!
//! What a process learns about a function is the same for all of its caches, in tests as
//! elsewhere: what computing takes, which decides how long callers wait for each other; how many
//! refreshes run in the background; that a body has panicked there twice. So are
//! [`report`](crate::report()) and [`sites`](crate::sites). What computing takes is real time: a body
//! that only sleeps on a paused clock takes none, and a caller that waits for it may overtake
//! it soon.
//!
//! [`with_cache`]: crate::testing::with_cache

pub use crate::cache::scope::with_cache;
#[cfg(feature = "tokio")]
pub use crate::cache::scope::with_cache_async;
pub use crate::call::drain::settled;
#[cfg(feature = "tokio")]
pub use crate::call::drain::settled_async;
pub use crate::store::faults::Faults;
use crate::telemetry::observed::{CallOutcome, Observed, ObservedCall};
pub use crate::time::clock::Clock;
// What `macro_export` puts at the root is listed here.
#[doc(inline)]
pub use crate::{assert_hit, assert_miss, assert_stale};

/// Runs a call, and panics unless the cache had a fresh value for it. Returns what the call
/// returns.
///
/// The value may have come from the store or from what this process keeps near. Of a
/// function with `each`, all elements must be hits. If the expression makes several calls,
/// all of the outermost ones must be. The message names what each call ended as, and its
/// key.
///
/// An async call ends with `.await`, as in `assert_hit!(user(7).await)`. The expression
/// is run in a closure or in an async block, so `?` stands behind the macro:
/// `assert_hit!(user(7).await)?`.
///
/// ```
/// use memocached::testing::{assert_hit, assert_miss, with_cache};
/// use memocached::{Cache, memcached};
///
/// #[memcached(key = "cube:<n>", ttl = 60)]
/// fn cube(n: u64) -> u64 {
///     n * n * n
/// }
///
/// with_cache(&Cache::embedded(), || {
///     assert_miss!(cube(3));
///     assert_eq!(assert_hit!(cube(3)), 27);
/// });
/// ```
#[doc(hidden)]
#[macro_export]
macro_rules! assert_hit {
    ($($call:tt)+) => { $crate::__judge_call!($crate::private::judged_hit, [$($call)+] $($call)+) };
}

/// Runs a call, and panics unless it had to compute. Returns what the call returns.
///
/// It is [`assert_hit!`](crate::testing::assert_hit) otherwise: of a function with `each`, all
/// elements must be misses. A call that another one computed for, or that bypassed the
/// cache, is no miss.
#[doc(hidden)]
#[macro_export]
macro_rules! assert_miss {
    ($($call:tt)+) => { $crate::__judge_call!($crate::private::judged_miss, [$($call)+] $($call)+) };
}

/// Runs a call, and panics unless it got a value past its ttl: within its `grace`, or since
/// computing failed. Returns what the call returns.
///
/// It is [`assert_hit!`](crate::testing::assert_hit) otherwise.
#[doc(hidden)]
#[macro_export]
macro_rules! assert_stale {
    ($($call:tt)+) => { $crate::__judge_call!($crate::private::judged_stale, [$($call)+] $($call)+) };
}

/// Observes a call, which is async if there is an `.await` in it.
#[doc(hidden)]
#[macro_export]
macro_rules! __judge_call {
    ($judged:path, [$($call:tt)+] . await $($rest:tt)*) => {
        $judged($crate::observed_async(async { $($call)+ }).await, ::core::stringify!($($call)+))
    };
    ($judged:path, [$($call:tt)+] $next:tt $($rest:tt)*) => {
        $crate::__judge_call!($judged, [$($call)+] $($rest)*)
    };
    ($judged:path, [$($call:tt)+]) => {
        $judged($crate::observed(|| $($call)+), ::core::stringify!($($call)+))
    };
}

/// Returns the value of a call that was a hit.
#[doc(hidden)]
#[track_caller]
pub fn judged_hit<R>((value, seen): (R, Observed), call: &str) -> R {
    judge(&seen, call, "hit", |outcome| match outcome {
        CallOutcome::Hit | CallOutcome::NearHit => true,
        CallOutcome::Batch(counts) => counts.hits + counts.near_hits == counts.elements,
        CallOutcome::Stale
        | CallOutcome::Coalesced
        | CallOutcome::Miss(_)
        | CallOutcome::Bypass
        | CallOutcome::Unfinished => false,
    });
    value
}

/// Returns the value of a call that was a miss.
#[doc(hidden)]
#[track_caller]
pub fn judged_miss<R>((value, seen): (R, Observed), call: &str) -> R {
    judge(&seen, call, "miss", |outcome| match outcome {
        CallOutcome::Miss(_) => true,
        CallOutcome::Batch(counts) => counts.misses == counts.elements,
        CallOutcome::Hit
        | CallOutcome::NearHit
        | CallOutcome::Stale
        | CallOutcome::Coalesced
        | CallOutcome::Bypass
        | CallOutcome::Unfinished => false,
    });
    value
}

/// Returns the value of a call that was served a stale one.
#[doc(hidden)]
#[track_caller]
pub fn judged_stale<R>((value, seen): (R, Observed), call: &str) -> R {
    judge(&seen, call, "stale value", |outcome| match outcome {
        CallOutcome::Stale => true,
        CallOutcome::Batch(counts) => counts.stale == counts.elements,
        CallOutcome::Hit
        | CallOutcome::NearHit
        | CallOutcome::Coalesced
        | CallOutcome::Miss(_)
        | CallOutcome::Bypass
        | CallOutcome::Unfinished => false,
    });
    value
}

#[track_caller]
fn judge(seen: &Observed, call: &str, wanted: &str, is_wanted: fn(CallOutcome) -> bool) {
    assert!(!seen.calls.is_empty(), "`{call}` was to be a {wanted}, but made no call of a memoized function");
    if !seen.calls.iter().all(|call| is_wanted(call.outcome)) {
        let calls: Vec<String> = seen.calls.iter().map(worded).collect();
        panic!("`{call}` was to be a {wanted}, but was:\n{}", calls.join("\n"));
    }
}

/// Returns how a call ended, in words.
fn worded(call: &ObservedCall) -> String {
    let ObservedCall { name, outcome, key, stored_key, node, .. } = call;
    let key = match (key, stored_key) {
        (Some(key), Some(stored)) if key != stored => format!(", key `{key}`, stored as `{stored}`"),
        (Some(key), _) => format!(", key `{key}`"),
        (None, _) => String::new(),
    };
    let node = node.as_ref().map_or_else(String::new, |node| format!(", asked of {node}"));
    format!("  {outcome} ({name}{key}{node})")
}
