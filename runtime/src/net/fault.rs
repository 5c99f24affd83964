//! Why a connection could not be had or used, as a value.
//!
//! Names neither the server nor the request: the node knows both, and words an
//! error of them.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use crate::error::ErrorKind;
use crate::protocol::{Malformed, Unspeakable};
use crate::time::budget::Deadline;

/// What went wrong with a connection, and the error below that if there is one.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) trouble: Trouble,
    pub(crate) source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The caller's time was up before anything was sent.
    OutOfTime,
    /// The caller's time was up before the server had a fair share of it.
    Hurried,
    /// The async caller is outside of a runtime.
    NoRuntime,
    /// All connections to the server stayed in use.
    AllInUse,
    /// The process has no descriptor left.
    NoDescriptor,
    /// The process has no thread left to connect on.
    NoThread,
    /// No connection came about in time: the server may be slow, or gone.
    Silent,
    /// No connection came about, for this reason.
    Unreachable(&'static str),
    /// The server could not prove who it is.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only under TLS must a server prove it"))]
    Unproven,
    /// The greeting on a new connection failed.
    Greeting(ErrorKind),
    /// The exchange itself failed, or the server refused it.
    Exchange(ErrorKind),
    /// The connection that callers share has ended so, of which another of them
    /// is told.
    Shared(ErrorKind),
}

/// What a trouble says about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing: the trouble is the caller's own, or has been told before.
    Unknown,
    /// It answers.
    Answers,
    /// It answers, but takes no more connections.
    Full,
    /// It does not do what a server should.
    Fails,
}

impl Trouble {
    /// Returns what it is if no connection comes about in this part of the time: too little
    /// time says nothing about a server.
    pub(crate) fn unconnected_in(left: Duration, deadline: Deadline) -> Self {
        if deadline.is_fair(left) { Trouble::Silent } else { Trouble::Hurried }
    }

    /// Returns the class of the error that it becomes.
    pub(crate) fn kind(self) -> ErrorKind {
        match self {
            Trouble::OutOfTime | Trouble::Hurried => ErrorKind::OutOfTime,
            Trouble::NoRuntime => ErrorKind::NoRuntime,
            Trouble::AllInUse | Trouble::NoDescriptor | Trouble::NoThread => ErrorKind::PoolExhausted,
            Trouble::Silent => ErrorKind::Timeout,
            Trouble::Unreachable(_) => ErrorKind::Connect,
            Trouble::Unproven => ErrorKind::Tls,
            Trouble::Greeting(kind) | Trouble::Exchange(kind) | Trouble::Shared(kind) => kind,
        }
    }

    /// Returns what it says about the server.
    pub(crate) fn verdict(self) -> Verdict {
        match self {
            Trouble::OutOfTime | Trouble::Hurried | Trouble::NoRuntime | Trouble::Shared(_) => Verdict::Unknown,
            Trouble::AllInUse | Trouble::NoDescriptor | Trouble::NoThread => Verdict::Unknown,
            Trouble::Silent | Trouble::Unreachable(_) | Trouble::Unproven => Verdict::Fails,
            Trouble::Greeting(kind) | Trouble::Exchange(kind) => match kind {
                ErrorKind::PoolExhausted => Verdict::Full,
                ErrorKind::Server | ErrorKind::TooLarge | ErrorKind::NotANumber | ErrorKind::Rejected => {
                    Verdict::Answers
                }
                ErrorKind::Configuration
                | ErrorKind::Encode
                | ErrorKind::Decode
                | ErrorKind::Connect
                | ErrorKind::Timeout
                | ErrorKind::Io
                | ErrorKind::Protocol
                | ErrorKind::Key
                | ErrorKind::Unauthenticated
                | ErrorKind::Tls
                | ErrorKind::CircuitOpen
                | ErrorKind::OutOfTime
                | ErrorKind::NoRuntime => Verdict::Fails,
            },
        }
    }
}

/// `EMFILE` and `ENFILE`, which std has no names for.
const OUT_OF_DESCRIPTORS: [i32; 2] = if cfg!(unix) { [24, 23] } else { [10024, 10024] };

impl Fault {
    /// Returns the class of the error that it becomes.
    pub(crate) fn kind(&self) -> ErrorKind {
        self.trouble.kind()
    }

    /// Adds the error below.
    pub(crate) fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Creates the fault of a server that cannot be reached, for this reason.
    pub(crate) fn unreachable(why: &'static str) -> Self {
        Trouble::Unreachable(why).into()
    }

    /// Creates the fault of a connection that the system did not open.
    pub(crate) fn unconnected(error: io::Error) -> Self {
        let trouble = match error.kind() {
            // That says nothing about the server.
            _ if error.raw_os_error().is_some_and(|number| OUT_OF_DESCRIPTORS.contains(&number)) => {
                Trouble::NoDescriptor
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Trouble::Silent,
            _ => Trouble::Unreachable("no connection"),
        };
        Fault::from(trouble).because(error)
    }

    /// Creates the fault of a connection that broke midway. Under TLS the other side may have
    /// said why: that is not data.
    pub(crate) fn broken(error: io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::InvalidData => ErrorKind::Tls,
            _ => ErrorKind::Io,
        };
        Fault::from(kind).because(error)
    }

    /// Returns the same fault, in the greeting instead of in an exchange.
    pub(crate) fn in_greeting(self) -> Self {
        match self.trouble {
            Trouble::Exchange(kind) => Fault { trouble: Trouble::Greeting(kind), ..self },
            _ => self,
        }
    }
}

impl From<Trouble> for Fault {
    fn from(trouble: Trouble) -> Self {
        Fault { trouble, source: None }
    }
}

/// The kind of an exchange that failed.
impl From<ErrorKind> for Fault {
    fn from(kind: ErrorKind) -> Self {
        Trouble::Exchange(kind).into()
    }
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        malformed.0.into()
    }
}

impl From<Unspeakable> for Fault {
    fn from(_: Unspeakable) -> Self {
        ErrorKind::Rejected.into()
    }
}
