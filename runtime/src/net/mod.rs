//! Connections to one server: names to addresses, streams of bytes, requests
//! out and replies in.
//!
//! Faults are values here; the node words the errors.

#[cfg(feature = "tokio")]
pub(crate) mod async_connection;
pub(crate) mod connection;
mod elsewhere;
pub(crate) mod endpoint;
pub(crate) mod fault;
mod race;
pub(crate) mod resolve;
pub(crate) mod socket;
pub(crate) mod stream;
#[cfg(feature = "tls")]
pub(crate) mod tls;
