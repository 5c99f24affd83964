//! The first words on a connection: who is asking, and what is spoken here?

use super::scan::{self, ALIEN};
use super::{Dialect, Expect, Malformed, Progress, Session, Ticket, Unspeakable, refusal};
use crate::error::ErrorKind;
use crate::exchange::{Reply, Request};

/// A key that is read to see whether the classic protocol is understood.
const HELLO: &str = "memocached:hello";

impl Session {
    /// Writes what must come before any request: user and password, and, if
    /// this is not known yet, the question whether the server speaks what this
    /// session does. Each ticket is for a reply, whose mere coming is enough.
    pub(crate) fn greet(
        &mut self,
        credentials: Option<(&str, &str)>,
        is_known: bool,
    ) -> Result<Vec<Ticket>, Unspeakable> {
        let mut tickets = Vec::new();
        if let Some((username, password)) = credentials {
            let secret = format!("{username} {password}");
            self.output.extend_from_slice(format!("set auth 0 0 {}\r\n{secret}\r\n", secret.len()).as_bytes());
            tickets.push(Ticket { expect: Expect::Welcome, number: 0, key: 0 });
        }
        match (is_known, self.dialect) {
            (true, _) => {}
            (false, Dialect::Meta) => {
                self.output.extend_from_slice(b"mn\r\n");
                tickets.push(Ticket { expect: Expect::Dialect, number: 0, key: 0 });
            }
            (false, Dialect::Classic) => tickets.push(self.write(&Request::Peek { key: HELLO })?),
        }
        Ok(tickets)
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }
}

/// Reads the reply to user and password, or to `mn`, which servers with the
/// meta protocol repeat in capitals.
pub(super) fn decode(expect: Expect, input: &[u8]) -> Result<Progress, Malformed> {
    let Some((line, length)) = scan::line(input)? else { return Ok(Progress::More) };
    let reply = match (expect, line, refusal(line)) {
        (Expect::Welcome, b"STORED", _) | (Expect::Dialect, b"MN", _) => Reply::Done,
        (Expect::Welcome, _, Some(_)) => return Err(Malformed(ErrorKind::Unauthenticated)),
        (Expect::Dialect, _, Some(ErrorKind::Rejected)) | (Expect::Dialect, b"EN", _) => Reply::Absent,
        (_, _, Some(kind)) => return Err(Malformed(kind)),
        _ => return Err(ALIEN),
    };
    Ok(Progress::Done(Ok(reply), length))
}
