// Built documentation has no files beside it: the picture is part of the text, and
// the guide is here. Of two definitions of a link the first counts.
#![doc = include_str!("../docs/jaeger.md")]
//! [guide]: crate::guide
// The README is the workspace's here, and the package's own once packaged.
#![doc = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", env!("CARGO_PKG_README")))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate self as memocached;
/// A port where connections are neither made nor refused.
#[cfg(all(test, feature = "servers"))]
#[path = "../../tests/support/full.rs"]
#[allow(dead_code, reason = "shared with the behaviour tests")]
mod full;
/// A real server, as the behaviour tests start it.
#[cfg(all(test, feature = "servers"))]
#[path = "../../tests/support/memcached.rs"]
#[allow(dead_code, reason = "shared with the behaviour tests")]
mod memcached;

/// A proxy that spoils replies.
#[cfg(all(test, feature = "servers"))]
#[path = "../../tests/support/proxy.rs"]
#[allow(dead_code, reason = "shared with the behaviour tests")]
mod proxy;

// From below: a folder imports only what stands above it here, in other paragraphs.
mod named;

mod bounded;
#[cfg(feature = "tokio")]
#[cfg_attr(not(feature = "servers"), allow(dead_code, reason = "servers alone need all of it"))]
mod detached;
mod error;
mod server;
mod sync;

pub mod codec;
#[cfg_attr(not(feature = "servers"), allow(dead_code, reason = "servers alone need all of it"))]
mod exchange;
#[cfg_attr(not(feature = "servers"), allow(dead_code, reason = "servers alone need all of it"))]
mod time;

mod key;
#[cfg(feature = "servers")]
mod protocol;
mod random;

#[cfg(feature = "servers")]
#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "async callers alone need all of it"))]
mod net;
mod value;

#[cfg(feature = "servers")]
mod node;

#[cfg_attr(
    not(all(feature = "servers", feature = "tokio")),
    allow(dead_code, reason = "servers and async callers need all of it")
)]
mod telemetry;

#[cfg(feature = "servers")]
mod cluster;

#[cfg_attr(not(feature = "servers"), allow(dead_code, reason = "servers alone need all of it"))]
mod config;
#[cfg_attr(not(feature = "servers"), allow(unused_variables, reason = "the embedded store is one node"))]
mod store;

#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "async callers alone need all of it"))]
mod singleflight;

mod cache;

mod writing;

#[cfg_attr(not(feature = "tokio"), allow(dead_code, reason = "async callers alone need all of it"))]
mod call;
mod client;

#[cfg(feature = "testing")]
pub mod testing;

#[cfg(any(test, fuzzing))]
pub mod tests;

pub mod guide;

mod attribute;

#[doc(hidden)]
pub mod private;

pub use attribute::{KeyPart, group, invalidates, memcached, updates};
pub use cache::Cache;
pub use cache::global::install;
#[cfg(feature = "tokio")]
pub use call::drain::drain_async;
pub use call::drain::{Drained, drain};
#[cfg(feature = "tokio")]
pub use call::entries::AsyncEntries;
pub use call::entries::Entries;
#[cfg(feature = "tokio")]
pub use call::entry::AsyncEntry;
pub use call::entry::{Entry, EntryInfo};
pub use call::group::Group;
pub use call::mode::{Mode, with_mode, with_mode_async};
pub use call::previous::{Previous, tag};
pub use call::site::{SiteInfo, sites};
pub use call::targets::Invalidate;
#[cfg(feature = "tokio")]
pub use call::writing::AsyncWriting;
pub use call::writing::{Writing, Written};
#[cfg(feature = "tokio")]
pub use client::AsyncClient;
pub use client::Client;
pub use client::outcome::{CasOutcome, Failures, Many, NodeInfo, PerNode, Versioned};
#[doc(inline)]
pub use codec::{Codec, Framing};
pub use config::builder::{Build, Builder};
pub use config::choices::Shown;
pub use error::{Error, ErrorKind};
pub use exchange::Ttl;
pub use key::{Bits, KeyPart, KeyWriter};
pub use server::{Distribution, Failover, Protocol};
pub use telemetry::metrics::enable_metrics_views;
pub use telemetry::names;
pub use telemetry::observed::{BatchCounts, CallOutcome, MissReason, Observed, ObservedCall};
pub use telemetry::observing::{observed, observed_async};
pub use telemetry::report::{FunctionReport, Report, report};
#[cfg(feature = "views")]
pub use telemetry::views;
pub use value::item::{FromItem, RawItem, ToItem};
#[cfg(feature = "memcache")]
pub use value::memcache_crate::Memcache;
