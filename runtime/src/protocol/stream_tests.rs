//! Tests with replies that arrive in pieces, are damaged, belong to another
//! request, or are not replies at all.

use std::time::Duration;

use crate::exchange::{Direction, Guard, Keys, Reply, Request, Ttl, Write};
use crate::protocol::{Answer, Dialect, Malformed, Session};

const KEY: &str = "key";

fn requests(keys: &Keys) -> [Request<'_>; 14] {
    let ttl = Ttl::Forever;
    [
        Request::Lookup { key: KEY, lease: Duration::from_secs(30), refresh: Duration::ZERO },
        Request::Peek { key: KEY },
        Request::GetAndTouch { key: KEY, ttl },
        Request::PeekMany { keys },
        Request::Store { key: KEY, value: b"v", flags: 1, ttl, how: Write::Set, guard: Guard::None },
        Request::Delete { key: KEY, guard: Guard::None },
        Request::Count { key: KEY, by: 1, direction: Direction::Up },
        Request::Touch { key: KEY, ttl },
        Request::Stats { group: "" },
        Request::Version,
        Request::FlushAll { delay: Duration::ZERO },
        Request::MemoryLimit { mebibytes: 64 },
        Request::Servers,
        Request::Invalidate { key: KEY, guard: Guard::None, ttl: None },
    ]
}

fn keys() -> Keys {
    let mut keys = Keys::default();
    keys.push(KEY);
    keys.push("other");
    keys
}

/// The answers that the session decodes from the pieces, up to the first that is
/// malformed or incomplete.
fn read(session: &mut Session, requests: &[Request<'_>], pieces: &[&[u8]]) -> Vec<Result<Answer, Malformed>> {
    let tickets: Vec<_> =
        requests.iter().map(|request| session.write(request).expect("the dialect can express it")).collect();
    let mut pieces = pieces.iter().copied();
    let mut replies = Vec::new();
    for ticket in tickets {
        loop {
            match session.reply(ticket) {
                Ok(Some(answer)) => break replies.push(Ok(answer)),
                Err(malformed) => {
                    replies.push(Err(malformed));
                    return replies;
                }
                Ok(None) => {}
            }
            let Some(mut piece) = pieces.next() else { return replies };
            while !piece.is_empty() {
                let space = session.space();
                assert!(!space.is_empty());
                let length = space.len().min(piece.len());
                space[..length].copy_from_slice(&piece[..length]);
                session.received(length);
                piece = &piece[length..];
            }
        }
    }
    replies
}

/// Whether the protocol's specification allows a reply to the request to begin
/// with this line.
fn may_begin(dialect: Dialect, request: &Request<'_>, line: &str) -> bool {
    let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let begins = |known: &[&str]| words.first().is_some_and(|first| known.contains(first));
    let refuses = line.starts_with("SERVER_ERROR") || line.starts_with("CLIENT_ERROR") && line.contains("non-numeric");
    let in_classic = match request {
        Request::Lookup { .. }
        | Request::Peek { .. }
        | Request::Get { .. }
        | Request::GetAndTouch { .. }
        | Request::PeekMany { .. } => begins(&["VALUE", "END"]),
        Request::Renew { .. } => false,
        Request::Store { .. } => begins(&["STORED", "NOT_STORED", "EXISTS", "NOT_FOUND"]),
        Request::Delete { .. } | Request::Invalidate { .. } => begins(&["DELETED", "NOT_FOUND"]),
        Request::Count { .. } => begins(&["NOT_FOUND"]) || line.trim_end().bytes().all(|byte| byte.is_ascii_digit()),
        Request::Touch { .. } => begins(&["TOUCHED", "NOT_FOUND"]),
        Request::Stats { .. } => begins(&["STAT", "END"]),
        Request::Version => begins(&["VERSION"]),
        Request::Servers => begins(&["CONFIG"]),
        Request::FlushAll { .. } | Request::MemoryLimit { .. } => {
            ["OK", "ERROR"].contains(&line) || line.starts_with("MEMLIMIT_")
        }
    };
    let in_meta = begins(&["EN"]) || begins(&["VA", "HD", "NS", "EX", "NF"]) && words.contains(&"O1");
    let is_meta = dialect == Dialect::Meta && request.key().is_some();
    refuses || if is_meta { in_meta } else { in_classic }
}

/// Panics if the bytes are decoded as something they are not, or differently when
/// they arrive in pieces.
fn check(dialect: Dialect, requests: &[Request<'_>], bytes: &[u8], pieces: &[&[u8]]) {
    let whole = read(&mut Session::alone(dialect), requests, &[bytes]);
    assert_eq!(read(&mut Session::alone(dialect), requests, pieces), whole);
    if let [Ok(_), ..] = whole[..] {
        let text = String::from_utf8_lossy(bytes);
        let line = text.split("\r\n").next().unwrap_or_default();
        assert!(may_begin(dialect, &requests[0], line), "{line:?} for {:?}: {whole:?}", requests[0]);
    }
    for answer in whole {
        let items = match answer {
            Ok(Ok(Reply::Found(item))) => vec![item.value],
            Ok(Ok(Reply::FoundMany(items))) => items.iter().map(|(_, item)| item.value.clone()).collect(),
            _ => continue,
        };
        let is_received =
            |value: &Vec<u8>| value.is_empty() || bytes.windows(value.len()).any(|window| window == value);
        assert!(items.iter().all(is_received), "a value was not received");
    }
}

/// Checks arbitrary bytes as replies; the first three choose the dialect, the
/// requests and the size of the pieces.
pub(crate) fn any_bytes(bytes: &[u8]) {
    let [first, second, piece, replies @ ..] = bytes else { return };
    let dialect = if first & 1 == 0 { Dialect::Meta } else { Dialect::Classic };
    let keys = keys();
    let all = requests(&keys);
    let asked = [first >> 4, second & 15, second >> 4].map(|index| all[usize::from(index) % all.len()]);
    let pieces: Vec<&[u8]> = replies.chunks(usize::from(*piece).max(1)).collect();
    check(dialect, &asked, replies, &pieces);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::error::ErrorKind;
    use crate::exchange::{Grant, Item, Note};

    fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
        let mut offsets: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        offsets.extend([0, bytes.len()]);
        offsets.sort_unstable();
        offsets.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
    }

    fn dialect() -> impl Strategy<Value = Dialect> {
        prop_oneof![Just(Dialect::Meta), Just(Dialect::Classic)]
    }

    fn item() -> impl Strategy<Value = Item> {
        // Sometimes longer than the buffer's initial size.
        let value =
            prop_oneof![prop::collection::vec(any::<u8>(), 1..30), (1..40_000_usize).prop_map(|n| vec![b'\r'; n])];
        (value, any::<u32>(), any::<u64>(), prop::option::of(0..1_000_u64))
            .prop_map(|(value, flags, cas, seconds_left)| Item { value, flags, cas, seconds_left, ..Item::default() })
    }

    /// A value's bytes between two pieces of text.
    fn with(head: &str, value: &[u8], tail: &str) -> Vec<u8> {
        [head.as_bytes(), value, tail.as_bytes()].concat()
    }

    /// A reply to the request at `index`, as bytes and as the answer they encode.
    fn written(dialect: Dialect, index: usize, number: usize, item: &Item, choice: u8) -> (Vec<u8>, Answer) {
        let classic = dialect == Dialect::Classic;
        let Item { value, flags, cas, seconds_left, .. } = item;
        let size = value.len();
        let text = |bytes: String, answer| (bytes.into_bytes(), answer);
        let say = |meta: &str, word: &str, reply| match dialect {
            Dialect::Meta => text(format!("{meta} O{number}\r\n"), Ok(reply)),
            Dialect::Classic => text(format!("{word}\r\n"), Ok(reply)),
        };
        match (index, choice % 4) {
            (0..=8 | 13, 0) => text("SERVER_ERROR out of memory\r\n".into(), Err(ErrorKind::Server)),
            (0..=2, 1) => say("EN", "END", Reply::Missing(Grant::Free)),
            (0..=2, _) if classic => {
                let item = Item { seconds_left: None, ..item.clone() };
                (with(&format!("VALUE {KEY} {flags} {size} {cas}\r\n"), value, "\r\nEND\r\n"), Ok(Reply::Found(item)))
            }
            (0..=2, _) => {
                let left = seconds_left.map_or("-1".to_owned(), |left| left.to_string());
                let head = format!("VA {size} O{number} f{flags} c{cas} t{left}\r\n");
                (with(&head, value, "\r\n"), Ok(Reply::Found(item.clone())))
            }
            (3, choice) => {
                let item = Item { seconds_left: None, ..item.clone() };
                let keys = keys();
                let names: Vec<&str> = keys.iter().take(usize::from(choice) - 1).collect();
                let part = |name: &&str| with(&format!("VALUE {name} {flags} {size} {cas}\r\n"), value, "\r\n");
                let found = names.iter().map(|name| ((*name).to_owned(), item.clone())).collect();
                ([names.iter().flat_map(part).collect(), b"END\r\n".to_vec()].concat(), Ok(Reply::FoundMany(found)))
            }
            (4, 1) => say("NS", "NOT_STORED", Reply::NotStored),
            (4, 2) => say("EX", "EXISTS", Reply::Changed),
            (4, _) => say("HD", "STORED", Reply::Done),
            (5 | 13, 1) => say("NF", "NOT_FOUND", Reply::Absent),
            (5 | 13, _) => say("HD", "DELETED", Reply::Done),
            (6, 1) => say("NF", "NOT_FOUND", Reply::Absent),
            (6, _) if classic => text(format!("{cas}\r\n"), Ok(Reply::Number(*cas))),
            (6, _) => text(format!("VA {} O{number}\r\n{cas}\r\n", cas.to_string().len()), Ok(Reply::Number(*cas))),
            (7, 1) => say("EN", "NOT_FOUND", Reply::Absent),
            (7, _) => say("HD", "TOUCHED", Reply::Done),
            (8, choice) => {
                let counters = (1..choice).map(|n| (format!("name{n}"), format!("{cas} and more"))).collect::<Vec<_>>();
                let lines = counters.iter().map(|(name, value)| format!("STAT {name} {value}\r\n")).collect::<String>();
                text(lines + "END\r\n", Ok(Reply::Counters(counters)))
            }
            (11, 1) => text("MEMLIMIT_TOO_SMALL cannot set maxbytes\r\n".into(), Err(ErrorKind::Rejected)),
            (12, _) => {
                let list = format!("{flags}\na.example|10.0.0.1|{cas}\n");
                text(format!("CONFIG cluster 0 {}\r\n{list}\r\nEND\r\n", list.len()), Ok(Reply::Text(list)))
            }
            (9, _) => text("VERSION 1.6.18\r\n".into(), Ok(Reply::Text("1.6.18".into()))),
            _ => text("OK\r\n".into(), Ok(Reply::Done)),
        }
    }

    const WORDS: [&str; 36] = [
        "VA",
        "HD",
        "EN",
        "NS",
        "EX",
        "NF",
        "MN",
        "VALUE",
        "END",
        "STAT",
        "STORED",
        "NOT_STORED",
        "NOT_FOUND",
        "DELETED",
        "TOUCHED",
        "OK",
        "VERSION",
        "ERROR",
        "CLIENT_ERROR",
        "SERVER_ERROR",
        "MEMLIMIT_",
        KEY,
        "other",
        "O1",
        "O2",
        "f0",
        "c1",
        "t-1",
        "W",
        "Z",
        "0",
        "1",
        "3",
        "-1",
        "4294967296",
        "99999999999999999999",
    ];

    /// Bytes that sometimes look like replies.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            6 => prop::sample::select(&WORDS[..]).prop_map(|word| word.as_bytes().to_vec()),
            5 => Just(b" ".to_vec()),
            4 => Just(b"\r\n".to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..5),
        ];
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    #[test]
    fn a_connection_survives_only_a_few_kinds_of_refusal() {
        let keys = keys();
        for (dialect, request) in [Dialect::Meta, Dialect::Classic]
            .into_iter()
            .flat_map(|dialect| requests(&keys).map(|request| (dialect, request)))
        {
            let decoded = |line: &str| read(&mut Session::alone(dialect), &[request], &[line.as_bytes()]);
            for line in ["ERROR\r\n", "CLIENT_ERROR bad data chunk\r\n"] {
                let is_line = matches!(request, Request::FlushAll { .. } | Request::MemoryLimit { .. });
                let is_reply = is_line && line == "ERROR\r\n";
                let rejected = ErrorKind::Rejected;
                let expected = if is_reply { Ok(Err(rejected)) } else { Err(Malformed(rejected)) };
                assert_eq!(decoded(line), [expected], "{request:?}");
            }
            for (line, kind) in [
                ("SERVER_ERROR out of memory\r\n", ErrorKind::Server),
                ("SERVER_ERROR object too large for cache\r\n", ErrorKind::TooLarge),
                ("CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", ErrorKind::NotANumber),
            ] {
                assert_eq!(decoded(line), [Ok(Err(kind))], "{request:?}");
            }
        }
    }

    #[test]
    fn unrequested_bytes_are_noticed() {
        let mut session = Session::alone(Dialect::Meta);
        let version = Ok(Ok(Reply::Text("1.6.18".into())));
        assert_eq!(read(&mut session, &[Request::Version], &[b"VERSION 1.6.18\r\nV"]), [version]);
        assert!(!session.is_drained());
    }

    #[test]
    fn a_lease_is_not_read_as_a_value() {
        let keys = keys();
        let [lookup, peek, get_and_touch, ..] = requests(&keys);
        let meta = |request, line: &str| read(&mut Session::alone(Dialect::Meta), &[request], &[line.as_bytes()]);
        let note = Note::new(None);
        let renewed = |flags: &str| format!("VA 0 O1 f{} c5 t9{flags}\r\n\r\n", note.flags());
        let lease = |lease| [Ok(Ok(Reply::Missing(lease)))];
        let lost = |note| lease(Grant::Lost { cas: 5, note });
        assert_eq!(meta(lookup, "VA 0 O1 f0 c5 t9 W\r\n\r\n"), lease(Grant::Won(5)));
        assert_eq!(meta(lookup, "VA 0 O1 f0 c5 t9 Z\r\n\r\n"), lost(None));
        // A renewed lease is short-lived, so the server offers it for refresh.
        assert_eq!(meta(lookup, &renewed(" W")), lost(Some(note)));
        assert_eq!(meta(lookup, &renewed(" Z")), lost(Some(note)));
        assert_eq!(meta(lookup, &renewed("")), lost(Some(note)));
        assert_eq!(meta(lookup, &renewed(" X W")), lease(Grant::Won(5)));
        assert_eq!(meta(peek, "VA 0 O1 f0 c5 t9 Z\r\n\r\n"), lost(None));
        assert_eq!(meta(peek, &renewed("")), lost(Some(note)));
        assert_eq!(meta(get_and_touch, "VA 0 O1 f0 c5 t9 Z\r\n\r\n"), lease(Grant::Free));
        assert_eq!(meta(get_and_touch, &renewed("")), lease(Grant::Free));
        // An empty value that is not a lease.
        let empty = Item { cas: 5, seconds_left: Some(9), ..Item::default() };
        assert_eq!(meta(lookup, "VA 0 O1 f0 c5 t9\r\n\r\n"), [Ok(Ok(Reply::Found(empty)))]);
        for (flags, note) in [(0, None), (note.flags(), Some(note))] {
            let line = format!("VALUE key {flags} 0 5\r\n\r\nEND\r\n");
            let mut session = Session::alone(Dialect::Classic);
            assert_eq!(read(&mut session, &[peek], &[line.as_bytes()]), lost(note));
            assert!(session.is_drained());
        }
    }

    proptest! {
        #[test]
        fn replies_in_pieces_are_decoded_like_whole_ones(
            dialect in dialect(),
            script in prop::collection::vec((0..14_usize, item(), any::<u8>()), 1..12),
            cuts in prop::collection::vec(any::<Index>(), 0..40),
        ) {
            let keys = keys();
            let all = requests(&keys);
            let asked: Vec<_> = script.iter().map(|(index, ..)| all[*index]).collect();
            let (mut stream, mut expected) = (Vec::new(), Vec::new());
            for (number, (index, item, choice)) in (1..).zip(&script) {
                let (bytes, answer) = written(dialect, *index, number, item, *choice);
                stream.extend(bytes);
                expected.push(Ok(answer));
            }
            for pieces in [cut(&stream, &[]), cut(&stream, &cuts), stream.chunks(1_500).collect()] {
                let mut session = Session::alone(dialect);
                prop_assert_eq!(&read(&mut session, &asked, &pieces), &expected);
                prop_assert!(session.is_drained());
            }
        }

        #[test]
        fn bytes_that_do_not_begin_like_a_reply_are_refused(
            dialect in dialect(),
            index in 0..14_usize,
            bytes in bytes(),
            cuts in prop::collection::vec(any::<Index>(), 0..10),
        ) {
            let keys = keys();
            let request = requests(&keys)[index];
            check(dialect, &[request], &bytes, &cut(&bytes, &cuts));
        }

        #[test]
        fn a_reply_with_another_number_is_refused(
            // Replies with several parts carry no number.
            index in prop::sample::select(&[0_usize, 1, 2, 4, 5, 6, 7, 13][..]),
            item in item(),
            // Neither do refusals.
            choice in 1..4_u8,
            number in 2..usize::MAX,
        ) {
            let keys = keys();
            let (bytes, _) = written(Dialect::Meta, index, number, &item, choice);
            let replies = read(&mut Session::alone(Dialect::Meta), &[requests(&keys)[index]], &[&bytes]);
            prop_assert_eq!(replies, [Err(Malformed(ErrorKind::Protocol))]);
        }
    }
}
