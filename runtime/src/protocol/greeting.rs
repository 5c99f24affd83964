//! The replies to a greeting: whether the server accepts the credentials, and
//! which dialect it speaks. The greeting itself is written by the session.

use super::refusal::refusal;
use super::scan::{self, ALIEN};
use super::ticket::{Expect, Malformed, Progress};
use crate::error::ErrorKind;
use crate::exchange::Reply;

/// Reads the reply to the credentials or to `mn`, which servers with the meta
/// protocol answer with `MN`.
pub(super) fn decode(expect: Expect, input: &[u8]) -> Result<Progress, Malformed> {
    let Some((line, length)) = scan::line(input)? else { return Ok(Progress::More) };
    let reply = match (expect, line, refusal(line)) {
        (Expect::Welcome, b"STORED", _) | (Expect::Dialect, b"MN", _) => Reply::Done,
        (_, _, Some(ErrorKind::PoolExhausted)) => return Err(Malformed(ErrorKind::PoolExhausted)),
        (Expect::Welcome, _, Some(_)) => return Err(Malformed(ErrorKind::Unauthenticated)),
        (Expect::Dialect, _, Some(ErrorKind::Rejected)) | (Expect::Dialect, b"EN", _) => Reply::Absent,
        (_, _, Some(kind)) => return Err(Malformed(kind)),
        _ => return Err(ALIEN),
    };
    Ok(Progress::Done(Ok(reply), length))
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, Session};
    use super::*;

    /// Returns the outcome of the first reply to a greeting, and the dialect afterwards.
    fn greeted(credentials: Option<(&str, &str)>, reply: &str) -> (Result<Option<Reply>, ErrorKind>, Dialect) {
        let mut session = Session::alone(Dialect::Meta);
        let tickets = session.greet(credentials, credentials.is_some()).expect("the greeting can be encoded");
        session.space()[..reply.len()].copy_from_slice(reply.as_bytes());
        session.received(reply.len());
        let reply = match session.reply(tickets[0]) {
            Ok(answer) => answer.transpose(),
            Err(Malformed(kind)) => Err(kind),
        };
        (reply, session.dialect())
    }

    #[test]
    fn a_server_without_the_meta_protocol_gets_the_classic_one() {
        assert_eq!(greeted(None, "MN\r\n"), (Ok(Some(Reply::Done)), Dialect::Meta));
        for reply in ["ERROR\r\n", "CLIENT_ERROR unknown command\r\n", "EN\r\n"] {
            assert_eq!(greeted(None, reply), (Ok(Some(Reply::Absent)), Dialect::Classic), "{reply}");
        }
    }

    #[test]
    fn any_other_first_reply_is_an_error() {
        for (reply, kind) in [
            ("CLIENT_ERROR unauthenticated\r\n", ErrorKind::Unauthenticated),
            ("SERVER_ERROR too many open connections\r\n", ErrorKind::Server),
            ("HTTP/1.1 400 Bad Request\r\n", ErrorKind::Protocol),
        ] {
            assert_eq!(greeted(None, reply), (Err(kind), Dialect::Meta), "{reply}");
        }
    }

    #[test]
    fn only_stored_means_that_the_credentials_are_accepted() {
        let me = Some(("user", "secret"));
        assert_eq!(greeted(me, "STORED\r\n").0, Ok(Some(Reply::Done)));
        assert_eq!(greeted(me, "STORED\r").0, Ok(None));
        assert_eq!(greeted(me, "ERROR Too many open connections\r\n").0, Err(ErrorKind::PoolExhausted));
        for refusal in ["CLIENT_ERROR authentication failure\r\n", "ERROR\r\n", "SERVER_ERROR out of memory\r\n"] {
            assert_eq!(greeted(me, refusal).0, Err(ErrorKind::Unauthenticated), "{refusal}");
        }
        assert_eq!(greeted(me, "MN\r\n").0, Err(ErrorKind::Protocol));
    }
}
