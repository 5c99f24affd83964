//! The errors that callers get about a server, in words.
//!
//! Names the server, the verb and what went wrong; never quotes a server, which
//! could say anything.

use crate::error::{Error, ErrorKind};
use crate::exchange::Verb;
use crate::net::fault::{Fault, Trouble};
use crate::server::Server;

/// Returns the error for a request under this verb that met this fault.
pub(crate) fn worded(server: &Server, verb: Verb, fault: Fault) -> Error {
    let message = match fault.trouble {
        Trouble::OutOfTime => format!("no time was left to ask {server}"),
        Trouble::Hurried => format!("{server} had too little time to answer ({})", verb.as_str()),
        Trouble::NoRuntime => format!("{server} cannot be reached: async functions need a tokio runtime"),
        Trouble::AllInUse => format!("all connections to {server} were in use for too long"),
        Trouble::NoDescriptor => format!("no descriptor is left for a connection to {server}"),
        Trouble::NoThread => format!("no thread is left to connect to {server} on"),
        Trouble::Silent => format!("{server} could not be connected to in time"),
        Trouble::Unreachable(why) => format!("{server} cannot be reached: {why}"),
        Trouble::Unproven => format!("{server} could not prove who it is"),
        Trouble::Greeting(kind) => failed(server, Verb::Version, kind),
        Trouble::Exchange(kind) | Trouble::Shared(kind) => failed(server, verb, kind),
    };
    let error = Error::new(fault.kind(), message);
    match fault.source {
        Some(source) => error.with_source(source),
        None => error,
    }
}

/// Returns the error for a server that is not asked at all, because of this failure.
pub(crate) fn left_alone(server: &Server, cause: Option<Error>) -> Error {
    let error = Error::new(ErrorKind::CircuitOpen, format!("{server} has failed and is left alone for a while"));
    match cause {
        Some(cause) => error.with_source(cause),
        None => error,
    }
}

/// Returns what to say of an exchange that failed.
fn failed(server: &Server, verb: Verb, kind: ErrorKind) -> String {
    let why = match kind {
        ErrorKind::Timeout => "gave no answer in time",
        ErrorKind::Io => "broke the connection",
        ErrorKind::Server => "reported an error of its own",
        ErrorKind::Rejected => "did not accept the command",
        ErrorKind::TooLarge => "does not take items of this size",
        ErrorKind::PoolExhausted => "takes no more connections",
        ErrorKind::NotANumber => "holds something that is no decimal number of 64 bits",
        ErrorKind::Tls => "ended TLS, or wants another certificate",
        ErrorKind::Unauthenticated => "did not accept user and password, or wants some",
        ErrorKind::Configuration
        | ErrorKind::Encode
        | ErrorKind::Decode
        | ErrorKind::Connect
        | ErrorKind::Protocol
        | ErrorKind::Key
        | ErrorKind::CircuitOpen
        | ErrorKind::OutOfTime
        | ErrorKind::NoRuntime => "answered with something else than this command's reply",
    };
    format!("{server} {why} ({})", verb.as_str())
}
