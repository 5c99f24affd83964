// The README is the workspace's here, and the package's own once packaged.
#![doc = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", env!("CARGO_PKG_README")))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(all(feature = "bincode", feature = "memcache", feature = "tokio")),
    allow(
        dead_code,
        unreachable_code,
        unused_variables,
        reason = "without codec, sockets or runtime, parts of the path lie idle"
    )
)]

#[cfg(test)]
extern crate self as memocached;
/// A real server, as the behaviour tests start it.
#[cfg(all(test, feature = "memcache"))]
#[path = "../../tests/support/memcached.rs"]
#[allow(dead_code, reason = "shared with the behaviour tests")]
mod memcached;

// From below: a folder imports only what stands above it here.
mod attribute;
mod bounded;
#[cfg(feature = "tokio")]
mod detached;
mod error;
mod nearest;
mod server;
mod sync;

pub mod codec;
mod exchange;
mod time;

mod key;
#[cfg(feature = "memcache")]
mod protocol;
mod random;

#[cfg(feature = "memcache")]
mod net;
mod value;

#[cfg(feature = "memcache")]
mod node;

mod telemetry;

#[cfg(feature = "memcache")]
mod cluster;

mod config;
mod store;

mod singleflight;

mod cache;

mod call;
mod client;

#[cfg(any(test, fuzzing))]
pub mod tests;

#[doc(hidden)]
pub mod private;

pub use attribute::{KeyPart, memcached};
pub use cache::Cache;
pub use cache::global::install;
#[cfg(feature = "tokio")]
pub use call::entry::AsyncEntry;
pub use call::entry::{Entry, EntryInfo};
pub use call::mode::{Mode, with_mode, with_mode_async};
pub use call::site::{SiteInfo, sites};
#[cfg(feature = "tokio")]
pub use client::AsyncClient;
pub use client::Client;
pub use client::outcome::{CasOutcome, Failures, Many, NodeInfo, PerNode, Versioned};
pub use codec::{Codec, Framing};
pub use config::builder::{Build, Builder};
pub use config::choices::Shown;
pub use error::{Error, ErrorKind};
pub use exchange::Ttl;
pub use key::{Bits, KeyPart, KeyWriter};
pub use server::{Distribution, Failover, Protocol};
pub use telemetry::metrics::enable_metrics_views;
pub use telemetry::names;
pub use telemetry::report::{FunctionReport, Report, report};
#[cfg(feature = "views")]
pub use telemetry::views;
pub use value::item::{FromItem, RawItem, ToItem};
