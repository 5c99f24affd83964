//! What can go wrong, for programs that call the cache themselves.
//!
//! A memoized function never returns these: trouble with the cache is told in
//! its spans and metrics, and the function computes.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use crate::named::named;

/// Why a cache operation, or setting up a cache, failed.
///
/// A client and an entry return it. A memoized function computes instead, unless it has
/// `on_error = propagate`.
///
/// ```
/// use std::time::Duration;
///
/// use memocached::{Client, ErrorKind};
///
/// # fn main() -> Result<(), memocached::Error> {
/// let client = Client::from_env()?;
/// client.set("name", "Ann", Duration::from_secs(60))?;
/// let error = client.incr("name", 1).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::NotANumber);
/// assert!(!error.is_transient(), "trying again would not help");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

named! {
    /// The classes of [`Error`]; each is also the `error.type` of a client span.
    #[non_exhaustive]
    pub enum ErrorKind {
        /// A setting has a value that cannot be used.
        Configuration "configuration",
        /// A value could not be turned into bytes.
        Encode "encode",
        /// Bytes could not be turned into a value.
        Decode "decode",
        /// The server could not be reached.
        Connect "connect",
        /// The time for cache I/O ran out.
        Timeout "timeout",
        /// The connection broke in the middle of an exchange.
        Io "io",
        /// The server's answer was not memcached's protocol, or not the answer to
        /// this request.
        Protocol "protocol",
        /// The server refused the request (`SERVER_ERROR`).
        Server "server_error",
        /// The server did not understand the request (`ERROR`, `CLIENT_ERROR`).
        Rejected "rejected",
        /// The value is larger than a server takes.
        TooLarge "too_large",
        /// The key is empty, too long, or has spaces or other bytes in it that are
        /// not printable ASCII.
        Key "bad_key",
        /// The value to count is no decimal number of 64 bits.
        NotANumber "not_a_number",
        /// The server did not accept the user and password, or asks for them.
        Unauthenticated "unauthenticated",
        /// TLS could not be agreed on: the server did not prove its identity, or does
        /// not speak TLS.
        Tls "tls",
        /// The server failed a moment ago and is left alone for a while.
        CircuitOpen "circuit_open",
        /// All connections to the server were in use for too long, or the process
        /// could not open another, or the server takes no more.
        PoolExhausted "pool_exhausted",
        /// The call had used up its time for cache I/O before this was asked, or before
        /// the server had a fair share of it.
        OutOfTime "out_of_time",
        /// An async function was called outside of a tokio runtime.
        NoRuntime "no_runtime",
    }
    /// Returns the name used in spans and metrics, which is one of a closed set.
    #[must_use]
    pub fn as_str;
}

impl ErrorKind {
    /// Whether the same request may succeed later.
    const fn is_transient(self) -> bool {
        match self {
            ErrorKind::Connect
            | ErrorKind::Timeout
            | ErrorKind::Io
            | ErrorKind::Server
            | ErrorKind::CircuitOpen
            | ErrorKind::PoolExhausted
            | ErrorKind::OutOfTime => true,
            ErrorKind::Configuration
            | ErrorKind::Encode
            | ErrorKind::Decode
            | ErrorKind::Protocol
            | ErrorKind::Rejected
            | ErrorKind::TooLarge
            | ErrorKind::Key
            | ErrorKind::NotANumber
            | ErrorKind::Unauthenticated
            | ErrorKind::Tls
            | ErrorKind::NoRuntime => false,
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// Returns the same error for another request that it concerns, without its
    /// source.
    pub(crate) fn alike(&self) -> Self {
        Error::new(self.kind, self.message.clone())
    }

    /// Creates the error of a [`Codec`](crate::Codec) that cannot encode the value.
    #[must_use]
    pub fn encode(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error::new(ErrorKind::Encode, "the value could not be encoded").with_source(source)
    }

    /// Creates the error of a [`Codec`](crate::Codec) for bytes that are no value of
    /// this type.
    #[must_use]
    pub fn decode(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Error::new(ErrorKind::Decode, "the bytes could not be decoded").with_source(source)
    }

    /// Returns the class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Returns whether the same request may succeed later, with nothing changed but
    /// the state of the servers and the network.
    ///
    /// It may be tried again after a while. An error that is not transient comes
    /// back until the program, its settings or the stored value changes.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_or_the_network_may_recover_from_is_transient() {
        let transient = ErrorKind::ALL.into_iter().filter(|kind| Error::new(*kind, "").is_transient());
        let transient: Vec<_> = transient.map(ErrorKind::as_str).collect();
        let expected = ["connect", "timeout", "io", "server_error", "circuit_open", "pool_exhausted", "out_of_time"];
        assert_eq!(transient, expected);
    }
}
