//! Errors in place of replies.

use crate::error::ErrorKind;

/// What kind of error a line is, if it is one: `ERROR`, `CLIENT_ERROR …` and
/// `SERVER_ERROR …`. What it says is not repeated: it could be anything.
pub(super) fn refusal(line: &[u8]) -> Option<ErrorKind> {
    let says = |what: &[u8]| line.windows(what.len()).any(|window| window == what);
    if line.starts_with(b"SERVER_ERROR") {
        return Some(if says(b"too large") { ErrorKind::TooLarge } else { ErrorKind::Server });
    }
    let client = line.starts_with(b"CLIENT_ERROR");
    if client && says(b"non-numeric") {
        return Some(ErrorKind::NotANumber);
    }
    // In place of an answer, or in answer to user and password.
    if client && says(b"authenticat") {
        return Some(ErrorKind::Unauthenticated);
    }
    (client || line == b"ERROR").then_some(ErrorKind::Rejected)
}

/// Whether a server goes on after this refusal as if nothing had been. Of most
/// `CLIENT_ERROR`s one cannot know what the server took for the next command.
pub(super) fn is_clean(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Server | ErrorKind::TooLarge | ErrorKind::NotANumber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_by_its_kind() {
        assert_eq!(refusal(b"ERROR"), Some(ErrorKind::Rejected));
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
