//! Connections to one server: names to addresses, streams of bytes, requests
//! out and replies in.

#[cfg(feature = "tokio")]
pub(crate) mod async_connection;
pub(crate) mod connection;
pub(crate) mod endpoint;
pub(crate) mod resolve;
pub(crate) mod socket;
#[cfg(feature = "tls")]
pub(crate) mod tls;
