#![doc = include_str!("../README.md")]
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

#[cfg(any(all(test, feature = "memcache"), fuzzing))]
pub mod any_bytes;
#[cfg(test)]
mod shuttled;
#[cfg(test)]
mod timed;
#[cfg(all(test, feature = "memcache", feature = "tokio"))]
mod together;

// Layer 0: pure.
mod aside;
mod budget;
mod chance;
mod clock;
pub mod codec;
mod envelope;
mod error;
mod exchange;
mod foreign;
mod key;
mod key_part;
mod nearest;
#[cfg(feature = "memcache")]
mod protocol;
mod record;
mod ring;
mod schema;
mod server;
mod shape;
mod signature;
mod sync;
mod terms;

// Layer 1: resources.
#[cfg(feature = "tokio")]
mod alarm;
#[cfg(all(feature = "memcache", feature = "tokio"))]
mod async_connection;
#[cfg(all(feature = "memcache", feature = "tokio"))]
mod async_pool;
#[cfg(feature = "tokio")]
mod background;
mod bounded;
#[cfg(feature = "memcache")]
mod breaker;
mod census;
#[cfg(feature = "memcache")]
mod comeback;
#[cfg(feature = "memcache")]
mod connection;
mod embedded;
#[cfg(feature = "memcache")]
mod endpoint;
mod flight;
#[cfg(feature = "memcache")]
mod journal;
mod keeper;
#[cfg(feature = "memcache")]
mod mark;
mod near;
#[cfg(feature = "memcache")]
mod node;
#[cfg(all(feature = "memcache", feature = "tokio"))]
mod pipeline;
#[cfg(feature = "memcache")]
mod pool;
#[cfg(feature = "memcache")]
mod prober;
#[cfg(feature = "memcache")]
mod resolve;
#[cfg(feature = "memcache")]
mod socket;
#[cfg(feature = "tls")]
mod tls;
mod vigil;

// Layer 2: one exchange with one store.
#[cfg(feature = "memcache")]
mod cluster;
#[cfg(feature = "memcache")]
mod discovery;
#[cfg(feature = "memcache")]
mod members;
#[cfg(feature = "memcache")]
mod route;
mod store;

// Layer 3: the story of a call.
mod call;
mod flow;
mod lease;
mod mode;
mod negative;
mod place;
mod policy;

// Layer 4: the surface.
mod backend;
mod builder;
mod cache;
mod client;
mod config;
mod convert;
mod entry;
mod errands;
mod generation;
mod process;
mod site;
mod telemetry;

#[doc(hidden)]
pub mod private;

pub use builder::{Build, Builder};
pub use cache::Cache;
#[cfg(feature = "tokio")]
pub use client::AsyncClient;
pub use client::{CasOutcome, Client, Failures, Many, PerNode, Versioned};
pub use codec::{Codec, Framing};
pub use convert::{FromItem, RawItem, ToItem};
#[cfg(feature = "tokio")]
pub use entry::AsyncEntry;
pub use entry::{Entry, EntryInfo};
pub use error::{Error, ErrorKind};
pub use exchange::Ttl;
pub use key::{Bits, KeyWriter};
pub use key_part::KeyPart;
pub use memocached_macros::{KeyPart, memcached};
pub use mode::{Mode, with_mode, with_mode_async};
pub use process::install;
pub use ring::Distribution;
pub use server::{Failover, Protocol};
pub use site::{SiteInfo, sites};
pub use telemetry::metrics::enable_metrics_views;
pub use telemetry::names;
pub use telemetry::report::{FunctionReport, Report, report};
#[cfg(feature = "views")]
pub use telemetry::views;
