//! The faults, and how a call ends that one of them hits.

use std::time::Duration;

use memocached::ErrorKind;

use crate::support::proxy::{Fault, Form, Pace, Then};

/// One fault, and how calls that it hits end.
pub(super) struct Row {
    pub(super) fault: Fault,
    pub(super) ends: Ends,
}

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ends {
    /// As if nothing had been.
    Well,
    /// With this error, and its connection too.
    Broken(ErrorKind),
    /// With this error and nothing else.
    Refused(ErrorKind),
}

use Ends::{Broken, Refused, Well};
use ErrorKind::{Io, NotANumber, Rejected, Server, Timeout, TooLarge, Unauthenticated};

pub(super) const PROTOCOL: Ends = Broken(ErrorKind::Protocol);

const fn form(form: Form, then: Then, ends: Ends) -> Row {
    Row { fault: Fault { form, pace: Pace::AtOnce, then }, ends }
}

const fn says(line: &'static [u8], ends: Ends) -> Row {
    form(Form::Other(line), Then::GoOn, ends)
}

const fn pace(pace: Pace, ends: Ends) -> Row {
    Row { fault: Fault { form: Form::Whole, pace, then: Then::GoOn }, ends }
}

/// Longer than any line of memcached's.
const ENDLESS: &[u8] = &[b'x'; 64 * 1024];
const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n400 Bad Request";
/// An alert: the handshake has failed.
const TLS: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x28];
/// One for the command, one for the value that was taken for another.
pub(super) const TWO_LINES: &[u8] = b"CLIENT_ERROR bad data chunk\r\nERROR\r\n";
const BINARY: &[u8] = &[0x81, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[rustfmt::skip]
pub(super) const ROWS: [Row; 66] = [
    // Time.
    pace(Pace::Late(Duration::from_millis(15)), Well),
    pace(Pace::Late(Duration::from_millis(300)), Broken(Timeout)),
    pace(Pace::Drip(Duration::from_millis(60)), Broken(Timeout)),
    form(Form::Nothing, Then::GoOn, Broken(Timeout)),
    form(Form::Half, Then::GoOn, Broken(Timeout)),
    // The end of the connection.
    form(Form::Nothing, Then::Close, Broken(Io)),
    form(Form::Nothing, Then::Reset, Broken(Io)),
    form(Form::Half, Then::Close, Broken(Io)),
    form(Form::Half, Then::Reset, Broken(Io)),
    form(Form::Other(b"\r"), Then::Close, Broken(Io)),
    // Replies to something else.
    form(Form::Swapped, Then::GoOn, PROTOCOL),
    form(Form::Twice, Then::GoOn, PROTOCOL),
    form(Form::Before(b"EN\r\n"), Then::GoOn, PROTOCOL),
    form(Form::Before(b"END\r\n"), Then::GoOn, PROTOCOL),
    form(Form::Before(b"STORED\r\n"), Then::GoOn, PROTOCOL),
    form(Form::Before(b"HD\r\n"), Then::GoOn, PROTOCOL),
    form(Form::Before(b"8\r\n"), Then::GoOn, PROTOCOL),
    form(Form::Before(b"VA 1 f0 c1 t-1\r\n8\r\n"), Then::GoOn, PROTOCOL),
    form(Form::Before(b"VALUE other 0 1 1\r\n8\r\nEND\r\n"), Then::GoOn, PROTOCOL),
    form(Form::After(b"EN\r\n"), Then::GoOn, PROTOCOL),
    form(Form::After(b"SERVER_ERROR out of memory\r\n"), Then::GoOn, PROTOCOL),
    // Lengths.
    form(Form::Lying(1), Then::GoOn, Broken(Timeout)),
    form(Form::Lying(-1), Then::GoOn, PROTOCOL),
    form(Form::Lying(1 << 29), Then::GoOn, Broken(Timeout)),
    form(Form::Lying(1 << 40), Then::GoOn, PROTOCOL),
    // A peer that is no memcached at all.
    form(Form::Other(HTTP), Then::Close, PROTOCOL),
    form(Form::Other(TLS), Then::Close, Broken(Io)),
    form(Form::Other(BINARY), Then::Close, Broken(Io)),
    form(Form::Other(ENDLESS), Then::GoOn, PROTOCOL),
    form(Form::Other(b"-ERR unknown command\r\n"), Then::GoOn, PROTOCOL),
    form(Form::Other(b"\r\n"), Then::GoOn, PROTOCOL),
    form(Form::Other(b"\0\xff\r\n"), Then::GoOn, PROTOCOL),
    form(Form::Other(b"HD\n"), Then::GoOn, PROTOCOL),
    // What servers say when they cannot or will not.
    says(b"ERROR\r\n", Broken(Rejected)),
    says(b"ERRORS\r\n", PROTOCOL),
    says(b"CLIENT_ERROR\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR bad command line format\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR bad data chunk\r\n", Broken(Rejected)),
    says(TWO_LINES, Broken(Rejected)),
    says(b"CLIENT_ERROR line too long\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR invalid exptime argument\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR invalid numeric delta argument\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR bad token in command line format\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR duplicate flag\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR options flags are too long\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR options flags too long\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR invalid flag\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR invalid mode for ma\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR error decoding key\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR CAS not supported\r\n", Broken(Rejected)),
    says(b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", Refused(NotANumber)),
    says(b"CLIENT_ERROR unauthenticated\r\n", Broken(Unauthenticated)),
    says(b"CLIENT_ERROR authentication failure\r\n", Broken(Unauthenticated)),
    says(b"SERVER_ERROR\r\n", Refused(Server)),
    says(b"SERVER_ERROR out of memory\r\n", Refused(Server)),
    says(b"SERVER_ERROR out of memory storing object\r\n", Refused(Server)),
    says(b"SERVER_ERROR out of memory reading request\r\n", Refused(Server)),
    says(b"SERVER_ERROR out of memory writing get response\r\n", Refused(Server)),
    says(b"SERVER_ERROR out of memory in incr\r\n", Refused(Server)),
    says(b"SERVER_ERROR object too large for cache\r\n", Refused(TooLarge)),
    says(b"SERVER_ERROR large read failed\r\n", Refused(Server)),
    // What proxies say for their servers.
    says(b"SERVER_ERROR Connection refused\r\n", Refused(Server)),
    says(b"SERVER_ERROR Connection timed out\r\n", Refused(Server)),
    says(b"SERVER_ERROR Host is down\r\n", Refused(Server)),
    says(b"SERVER_ERROR unavailable\r\n", Refused(Server)),
    form(Form::Other(b"SERVER_ERROR Server TKO\r\n"), Then::Close, Broken(Server)),
];
