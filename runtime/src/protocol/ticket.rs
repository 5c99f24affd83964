//! The ticket that a written request leaves, and the kind of reply it expects.
//! Decoding that reply is up to the dialects.

use crate::error::ErrorKind;
use crate::exchange::{Guard, Reply, Request};

/// The protocol spoken with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Meta,
    Classic,
}

/// The facts needed to decode the reply to a written request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(super) expect: Expect,
    /// The number that the reply carries in the meta protocol.
    pub(super) number: u32,
    /// The hash of the key that the reply carries in the classic protocol.
    pub(super) key: u64,
}

/// The kind of reply to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// An item, or a lease if there is none.
    Lease,
    Item,
    /// An item with the server's own number.
    OwnItem,
    Items,
    Written,
    /// The number that a lease has from now on.
    Renewed,
    Deleted,
    Number,
    Touched,
    Counters,
    Version,
    Servers,
    Okay,
    Welcome,
    Dialect,
    /// The item that tells the server's life.
    Life,
}

/// A reply, or a refusal after which the connection is still usable.
pub(crate) type Answer = Result<Reply, ErrorKind>;

/// The received bytes are not a reply to the request, so the connection is no
/// longer usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) ErrorKind);

/// The progress of decoding the bytes received so far.
pub(super) enum Progress {
    /// The reply is incomplete.
    More,
    /// Items have been read from this many bytes; the reply goes on.
    Items(usize),
    /// A counter, its value, and the bytes they took; the reply goes on.
    Counter(String, String, usize),
    /// The answer, and the bytes that it took.
    Done(Answer, usize),
}

/// The dialect cannot express the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unspeakable;

/// Returns the kind of reply that a request expects.
pub(super) fn expectation(dialect: Dialect, request: &Request<'_>) -> Expect {
    match request {
        // The classic protocol writes (`cas`) where the other one has commands of their own.
        Request::Renew { .. } | Request::Delete { guard: Guard::Unchanged(_) | Guard::Held(_), .. }
            if dialect == Dialect::Classic =>
        {
            Expect::Written
        }
        Request::Lookup { .. } => Expect::Lease,
        Request::Peek { .. } => Expect::Item,
        Request::Get { .. } | Request::GetAndTouch { .. } => Expect::OwnItem,
        Request::PeekMany { .. } => Expect::Items,
        Request::Store { .. } => Expect::Written,
        Request::Renew { .. } => Expect::Renewed,
        Request::Delete { .. } | Request::Invalidate { .. } => Expect::Deleted,
        Request::Count { .. } => Expect::Number,
        Request::Touch { .. } => Expect::Touched,
        Request::Stats { .. } => Expect::Counters,
        Request::Version => Expect::Version,
        Request::Servers => Expect::Servers,
        Request::FlushAll { .. } | Request::MemoryLimit { .. } => Expect::Okay,
    }
}
