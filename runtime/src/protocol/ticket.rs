//! What is known of a request that has been written, and what its reply can be.

use crate::error::ErrorKind;
use crate::exchange::{Reply, Request};

/// What the server understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Meta,
    Classic,
}

/// What is needed to read the reply to a request that has been written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    pub(super) expect: Expect,
    /// Comes back with the reply, in the dialect that has it.
    pub(super) number: u32,
    /// Of the key that comes back, in the dialect that has no number.
    pub(super) key: u64,
}

/// The kind of reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// An item, from a caller who wants the lease if there is none.
    Lease,
    Item,
    Items,
    Written,
    Deleted,
    Number,
    Touched,
    Counters,
    Version,
    Servers,
    Okay,
    Welcome,
    Dialect,
}

/// A reply, or a refusal after which the connection is as good as before.
pub(crate) type Answer = Result<Reply, ErrorKind>;

/// What was received is no reply to what was asked. The connection is of no
/// more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) ErrorKind);

/// What a dialect makes of the bytes so far.
pub(super) enum Progress {
    /// It takes more of them.
    More,
    /// These are the first of several parts, which have been read.
    Items(usize),
    Counter(String, String, usize),
    /// This is the whole of it, in so many bytes.
    Done(Answer, usize),
}

/// This request cannot be said in the dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unspeakable;

pub(super) fn expectation(request: &Request<'_>) -> Expect {
    match request {
        Request::Lookup { .. } => Expect::Lease,
        Request::Peek { .. } | Request::GetAndTouch { .. } => Expect::Item,
        Request::PeekMany { .. } => Expect::Items,
        Request::Store { .. } => Expect::Written,
        Request::Delete { .. } | Request::Invalidate { .. } => Expect::Deleted,
        Request::Count { .. } => Expect::Number,
        Request::Touch { .. } => Expect::Touched,
        Request::Stats { .. } => Expect::Counters,
        Request::Version => Expect::Version,
        Request::Servers => Expect::Servers,
        Request::FlushAll { .. } | Request::MemoryLimit { .. } => Expect::Okay,
    }
}
