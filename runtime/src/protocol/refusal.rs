//! Errors that servers send instead of a reply.
//!
//! Closing the connection after one is up to its owner.

use crate::error::ErrorKind;

/// Classifies an error line: `ERROR`, `CLIENT_ERROR …` or `SERVER_ERROR …`.
/// Returns `None` for other lines; the text is never quoted, as it may contain
/// anything.
pub(super) fn refusal(line: &[u8]) -> Option<ErrorKind> {
    let says = |what: &[u8]| line.windows(what.len()).any(|window| window == what);
    if line.starts_with(b"SERVER_ERROR") {
        return Some(if says(b"too large") { ErrorKind::TooLarge } else { ErrorKind::Server });
    }
    // Said to a new connection, which the server then closes (`maxconns_fast`).
    if line == b"ERROR Too many open connections" {
        return Some(ErrorKind::PoolExhausted);
    }
    let client = line.starts_with(b"CLIENT_ERROR");
    if client && says(b"non-numeric") {
        return Some(ErrorKind::NotANumber);
    }
    // Instead of any reply, or in reply to the credentials.
    if client && says(b"authenticat") {
        return Some(ErrorKind::Unauthenticated);
    }
    (client || line == b"ERROR").then_some(ErrorKind::Rejected)
}

/// Whether the connection is still usable after this refusal. After most
/// `CLIENT_ERROR`s it is unknown where the server reads the next command.
pub(super) fn is_clean(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Server | ErrorKind::TooLarge | ErrorKind::NotANumber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_line_is_classified_by_its_text() {
        assert_eq!(refusal(b"ERROR"), Some(ErrorKind::Rejected));
        assert_eq!(refusal(b"ERROR Too many open connections"), Some(ErrorKind::PoolExhausted));
        assert_eq!(refusal(b"CLIENT_ERROR bad data chunk"), Some(ErrorKind::Rejected));
        assert_eq!(refusal(b"CLIENT_ERROR unauthenticated"), Some(ErrorKind::Unauthenticated));
        assert_eq!(refusal(b"CLIENT_ERROR bad authentication token format"), Some(ErrorKind::Unauthenticated));
        assert_eq!(
            refusal(b"CLIENT_ERROR cannot increment or decrement non-numeric value"),
            Some(ErrorKind::NotANumber)
        );
        assert_eq!(refusal(b"SERVER_ERROR object too large for cache"), Some(ErrorKind::TooLarge));
        assert_eq!(refusal(b"SERVER_ERROR out of memory"), Some(ErrorKind::Server));
        assert_eq!(refusal(b"ERRORS"), None);
        assert_eq!(refusal(b"HTTP/1.1 400 Bad Request"), None);
    }
}
