#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(feature = "bincode", feature = "memcache", feature = "tokio")),
    allow(dead_code, unreachable_code, reason = "without codec, sockets or runtime, parts of the path lie idle")
)]

#[cfg(test)]
extern crate self as memocached;
/// A real server, as the behaviour tests start it.
#[cfg(all(test, feature = "memcache"))]
#[path = "../../tests/support/memcached.rs"]
#[allow(dead_code, reason = "shared with the behaviour tests")]
mod memcached;

// Layer 0: pure.
mod budget;
mod clock;
pub mod codec;
mod envelope;
mod error;
mod exchange;
mod key;
mod key_part;
mod record;
mod ring;
mod schema;
mod server;
mod shape;
mod sync;

// Layer 1: resources.
#[cfg(all(feature = "memcache", feature = "tokio"))]
mod async_pool;
#[cfg(feature = "tokio")]
mod background;
mod breaker;
mod embedded;
#[cfg(feature = "memcache")]
mod node;
#[cfg(feature = "memcache")]
mod pool;
#[cfg(feature = "memcache")]
mod wire;

// Layer 2: one exchange with one store.
#[cfg(feature = "memcache")]
mod cluster;
mod store;

// Layer 3: the story of a call.
mod call;
mod flow;
mod mode;
mod policy;

// Layer 4: the surface.
mod cache;
mod config;
mod entry;
mod process;
mod site;
mod telemetry;

#[doc(hidden)]
pub mod private;

pub use cache::{Cache, CacheBuilder};
pub use codec::{Codec, Framing};
#[cfg(feature = "tokio")]
pub use entry::AsyncEntry;
pub use entry::{Entry, EntryInfo};
pub use error::{Error, ErrorKind};
pub use key::{Bits, KeyWriter};
pub use key_part::KeyPart;
pub use memocached_macros::{KeyPart, memcached};
pub use mode::{Mode, with_mode, with_mode_async};
pub use process::install;
pub use ring::Distribution;
pub use site::{SiteInfo, sites};
pub use telemetry::metrics::enable_metrics_views;
pub use telemetry::report::{FunctionReport, Report, report};
#[cfg(feature = "views")]
pub use telemetry::views;
