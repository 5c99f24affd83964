//! The header in front of a stored value, which identifies the key, type and
//! version that the value belongs to.
//!
//! Opening an envelope is the only check between stored bytes and a decoded
//! value. What the payload means is left to the codec.
//!
//! ```text
//!  0  2  magic           E7 6D
//!  2  1  format          4, plus 1 with stamps, plus 2 with more
//!  3  1  codec
//!  4  8  schema          fingerprint of the value's type and the site's version
//! 12 16  key             fingerprint of the full key
//! 28  8  cost            nanoseconds the value took to compute
//! 36  4  grace           seconds the value is kept past its ttl
//! 40  4  kept            seconds the item is kept from when it is written; 0 for ever
//! 44  4  age             seconds from when the value was computed until then
//! 48  8  checksum        XXH3 of everything else
//! 56 16  stamps          of the value's groups; only with stamps
//!     4  end             seconds of age at which the ttl ends, of a value that may end
//!                        before; 0 of others; this and the tag only with more
//!   1+n  tag             its length, and what the body has set
//!     …  payload
//! ```
//!
//! Numbers are little-endian.

use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

use super::stamp::Stamps;

/// The flags of an enveloped value, which keep other clients from reading it as text.
pub(crate) const CLIENT_FLAGS: u32 = 0x6D63_0000;

const MAGIC: [u8; 2] = [0xE7, 0x6D];
const FORMAT: u8 = 4;
/// Part of the format of values that are in groups.
const GROUPED: u8 = 1;
/// Part of the format of values with an end or a tag.
const MORE: u8 = 2;
const CODEC: usize = 3;
const CHECKSUM: std::ops::Range<usize> = 48..56;
const HEADER: usize = 56;
const STAMPS: usize = 16;
/// The end, and the length of the tag.
const END_AND_LENGTH: usize = 5;

/// What a value was stored for. Every field must match before the value is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The codecs that may have encoded the value.
    pub(crate) codecs: [Option<u8>; 2],
    pub(crate) schema: u64,
    pub(crate) key: u128,
    /// Whether the value is in groups.
    pub(crate) is_grouped: bool,
}

/// What an envelope tells of its value's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// How long the value took to compute, in nanoseconds.
    pub(crate) cost: u64,
    /// How long the item is kept past the value's ttl, in seconds: programs with
    /// different choices may share it.
    pub(crate) grace: u32,
    /// How long the item is kept from when it is written, in seconds; zero for ever.
    pub(crate) kept: u32,
    /// How old the value is then, in seconds.
    pub(crate) age: u32,
    /// How old it is when its ttl ends, in seconds, if it may end before; otherwise zero.
    pub(crate) end: u32,
    /// The stamps of the value's groups, if it is in any.
    pub(crate) stamps: Option<Stamps>,
}

/// The contents of an envelope whose identity and integrity have been verified.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Contents<'a> {
    /// The codec that encoded the payload.
    pub(crate) codec: u8,
    pub(crate) payload: &'a [u8],
    pub(crate) times: Times,
    /// What the body has set to recognise the value by.
    pub(crate) tag: &'a [u8],
}

impl Identity {
    /// Returns a number that distinguishes this version's values of a key from
    /// another version's.
    pub(crate) fn mark(&self) -> u64 {
        let [first, _] = self.codecs;
        xxh3_64_with_seed(first.as_slice(), self.schema ^ u64::from(self.is_grouped))
    }
}

/// The reason why stored bytes are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Written by another program.
    Foreign,
    /// Written by a version of this program with another type, `version`, codec
    /// or format. The mark is that of the version that reads.
    OtherVersion { mark: u64 },
    /// Damaged, or stored for another key.
    Corrupt,
}

/// Begins an envelope. The caller appends the payload and then [`seal`]s it.
///
/// The tag has at most 255 bytes.
pub(crate) fn begin(identity: Identity, times: Times, tag: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + STAMPS + END_AND_LENGTH + tag.len() + 48);
    let has_more = times.end > 0 || !tag.is_empty();
    bytes.extend_from_slice(&MAGIC);
    bytes.push(format(identity, has_more));
    bytes.push(0);
    bytes.extend_from_slice(&identity.schema.to_le_bytes());
    bytes.extend_from_slice(&identity.key.to_le_bytes());
    bytes.extend_from_slice(&times.cost.to_le_bytes());
    for seconds in [times.grace, times.kept, times.age] {
        bytes.extend_from_slice(&seconds.to_le_bytes());
    }
    bytes.resize(HEADER, 0);
    if identity.is_grouped {
        let Stamps { hard, soft } = times.stamps.unwrap_or(Stamps { hard: 0, soft: 0 });
        bytes.extend_from_slice(&hard.to_le_bytes());
        bytes.extend_from_slice(&soft.to_le_bytes());
    }
    if has_more {
        let tag = &tag[..tag.len().min(usize::from(u8::MAX))];
        bytes.extend_from_slice(&times.end.to_le_bytes());
        bytes.push(tag.len() as u8);
        bytes.extend_from_slice(tag);
    }
    bytes
}

fn format(identity: Identity, has_more: bool) -> u8 {
    FORMAT | if identity.is_grouped { GROUPED } else { 0 } | if has_more { MORE } else { 0 }
}

/// Completes an envelope from [`begin`] with its codec and checksum.
pub(crate) fn seal(bytes: &mut [u8], codec: u8) {
    bytes[CODEC] = codec;
    let checksum = checksum(bytes);
    bytes[CHECKSUM].copy_from_slice(&checksum.to_le_bytes());
}

/// Verifies that the bytes are intact and belong to `expected`, and returns their
/// contents.
pub(crate) fn open(bytes: &[u8], expected: Identity) -> Result<Contents<'_>, Refusal> {
    if bytes.len() < HEADER || bytes[..2] != MAGIC {
        return Err(Refusal::Foreign);
    }
    let other_version = Refusal::OtherVersion { mark: expected.mark() };
    // A version that knows of no groups must not serve what is in one, nor the other way
    // round.
    if bytes[2] & !MORE != format(expected, false) {
        return Err(other_version);
    }
    if u64_at(bytes, CHECKSUM.start) != checksum(bytes) {
        return Err(Refusal::Corrupt);
    }
    let key = u128::from(u64_at(bytes, 12)) | u128::from(u64_at(bytes, 20)) << 64;
    if key != expected.key {
        return Err(Refusal::Corrupt);
    }
    let (codec, schema) = (bytes[CODEC], u64_at(bytes, 4));
    if schema != expected.schema || !expected.codecs.contains(&Some(codec)) {
        return Err(other_version);
    }
    contents(bytes).ok_or(Refusal::Corrupt)
}

/// Reads codec, schema and cost of an envelope that this process has already
/// sealed or verified.
#[inline]
pub(crate) fn trusted(bytes: &[u8]) -> Option<(u8, u64, u64)> {
    let is_one = bytes.len() >= HEADER && bytes[..2] == MAGIC && bytes[2] & !MORE == FORMAT;
    is_one.then(|| (bytes[CODEC], u64_at(bytes, 4), u64_at(bytes, 28)))
}

/// Returns an envelope's payload without verifying it.
#[inline]
pub(crate) fn payload(bytes: &[u8]) -> &[u8] {
    match bytes.get(2) {
        Some(&FORMAT) => bytes.get(HEADER..).unwrap_or_default(),
        _ => contents(bytes).map_or(&[], |contents| contents.payload),
    }
}

/// Takes an envelope apart, if it is whole.
fn contents(bytes: &[u8]) -> Option<Contents<'_>> {
    let (header, mut rest) = bytes.split_at_checked(HEADER)?;
    let form = header[2];
    let mut times = Times {
        cost: u64_at(header, 28),
        grace: u32_at(header, 36),
        kept: u32_at(header, 40),
        age: u32_at(header, 44),
        end: 0,
        stamps: None,
    };
    if form & GROUPED != 0 {
        let (stamps, after) = rest.split_at_checked(STAMPS)?;
        times.stamps = Some(Stamps { hard: u64_at(stamps, 0), soft: u64_at(stamps, 8) });
        rest = after;
    }
    let mut tag: &[u8] = &[];
    if form & MORE != 0 {
        let (&[first, second, third, fourth, length], after) = rest.split_first_chunk::<END_AND_LENGTH>()?;
        times.end = u32::from_le_bytes([first, second, third, fourth]);
        (tag, rest) = after.split_at_checked(usize::from(length))?;
    }
    Some(Contents { codec: header[CODEC], payload: rest, times, tag })
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&bytes[..CHECKSUM.start]);
    hasher.update(&bytes[HEADER..]);
    hasher.digest()
}

fn u32_at(bytes: &[u8], start: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[start..start + 4]);
    u32::from_le_bytes(number)
}

fn u64_at(bytes: &[u8], start: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[start..start + 8]);
    u64::from_le_bytes(number)
}

#[cfg(any(test, fuzzing))]
const MINE: Identity = Identity { codecs: [Some(1), Some(3)], schema: 7, key: 11 << 70, is_grouped: false };

#[cfg(any(test, fuzzing))]
fn sealed(identity: Identity, payload: &[u8], times: Times, tag: &[u8]) -> Vec<u8> {
    let mut bytes = begin(identity, times, tag);
    bytes.extend_from_slice(payload);
    seal(&mut bytes, identity.codecs[0].unwrap_or(0));
    bytes
}

/// Panics if bytes that were never sealed open, or if damage goes undetected. The
/// first two bytes choose where the damage is done, and what the envelope says.
#[cfg(any(test, fuzzing))]
pub(crate) fn any_bytes(bytes: &[u8]) {
    const IDENTITY: std::ops::Range<usize> = 0..28;
    let mut with_checksum = bytes.to_vec();
    with_checksum.resize(bytes.len().max(HEADER), 0);
    let (codec, more) = (with_checksum[CODEC], with_checksum[2] & MORE);
    seal(&mut with_checksum, codec);
    let mut mine = begin(MINE, Times::default(), b"");
    (mine[CODEC], mine[2]) = (codec, mine[2] | more);
    let is_mine = MINE.codecs.contains(&Some(codec)) && with_checksum[IDENTITY] == mine[IDENTITY];
    let is_whole = contents(&with_checksum).is_some();
    assert_eq!(open(&with_checksum, MINE).is_ok(), is_mine && is_whole);
    assert_eq!(open(bytes, MINE).is_ok(), is_mine && is_whole && with_checksum == bytes);

    let [first, second, payload @ ..] = bytes else { return };
    let choice = usize::from(u16::from_le_bytes([*first, *second]));
    let seconds = u32::from(*first);
    let times = Times { cost: 7, grace: seconds, kept: 3, age: 1, end: u32::from(*second) / 128, stamps: None };
    let tag = &payload[..payload.len().min(choice % 4)];
    let whole = sealed(MINE, payload, times, tag);
    assert_eq!(open(&whole, MINE), Ok(Contents { codec: 1, payload, times, tag }));
    assert_eq!(self::payload(&whole), payload);
    let mut flipped = whole.clone();
    flipped[choice / 8 % whole.len()] ^= 1 << (choice % 8);
    assert!(open(&flipped, MINE).is_err());
    let (start, rest) = whole.split_at(choice % whole.len());
    assert!(open(start, MINE).is_err());
    assert!(open(&[&whole, rest].concat(), MINE).is_err());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMES: Times = Times { cost: 42, grace: 60, kept: 360, age: 0, end: 0, stamps: None };

    #[test]
    fn a_sealed_envelope_opens_with_its_contents() {
        for times in [TIMES, Times::default(), Times { age: 9, end: 90, ..TIMES }] {
            for (payload, tag) in [(&b"value"[..], &b""[..]), (b"", b""), (b"value", b"\"etag\""), (b"", &[0; 255])] {
                let bytes = sealed(MINE, payload, times, tag);
                assert_eq!(open(&bytes, MINE), Ok(Contents { codec: 1, payload, times, tag }));
                assert_eq!(self::payload(&bytes), payload);
            }
        }
    }

    #[test]
    fn another_identity_is_refused() {
        let bytes = sealed(MINE, b"value", TIMES, b"");
        for other in [Identity { codecs: [Some(2), None], ..MINE }, Identity { schema: 8, ..MINE }] {
            assert_eq!(open(&bytes, other), Err(Refusal::OtherVersion { mark: other.mark() }));
            assert_ne!(other.mark(), MINE.mark());
        }
        assert_eq!(open(&bytes, Identity { key: 11, ..MINE }), Err(Refusal::Corrupt));
    }

    #[test]
    fn a_value_in_groups_carries_their_stamps_and_is_another_version_to_one_that_knows_none() {
        let grouped = Identity { is_grouped: true, ..MINE };
        let times = Times { stamps: Some(Stamps { hard: 1, soft: 2 }), ..TIMES };
        let bytes = sealed(grouped, b"value", times, b"");
        assert_eq!(open(&bytes, grouped), Ok(Contents { codec: 1, payload: b"value", times, tag: b"" }));
        assert_eq!(open(&bytes, MINE), Err(Refusal::OtherVersion { mark: MINE.mark() }));
        let plain = sealed(MINE, b"value", TIMES, b"");
        assert_eq!(open(&plain, grouped), Err(Refusal::OtherVersion { mark: grouped.mark() }));
        assert_ne!(grouped.mark(), MINE.mark());
        assert_eq!(trusted(&bytes), None);
        for index in HEADER..HEADER + STAMPS {
            let mut other = bytes.clone();
            other[index] ^= 1;
            assert_eq!(open(&other, grouped), Err(Refusal::Corrupt));
        }
        let times = Times { end: 60, ..times };
        let with_more = sealed(grouped, b"value", times, b"tag");
        assert_eq!(open(&with_more, grouped), Ok(Contents { codec: 1, payload: b"value", times, tag: b"tag" }));
    }

    #[test]
    fn a_later_format_is_refused() {
        for format in [0, 1, 2, 3, 5, 7, 8, 12, 255] {
            let mut bytes = sealed(MINE, b"value", TIMES, b"");
            bytes[2] = format;
            assert_eq!(open(&bytes, MINE), Err(Refusal::OtherVersion { mark: MINE.mark() }));
        }
    }

    #[test]
    fn foreign_and_damaged_bytes_are_told_apart() {
        let bytes = sealed(MINE, b"value", TIMES, b"");
        let changed = |index: usize| {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            open(&changed, MINE).unwrap_err()
        };
        for index in [0, 1] {
            assert_eq!(changed(index), Refusal::Foreign);
        }
        for index in [3, 4, 12, 28, 36, 40, 44, CHECKSUM.start, HEADER] {
            assert_eq!(changed(index), Refusal::Corrupt);
        }
        assert_eq!(open(&bytes[..HEADER - 1], MINE), Err(Refusal::Foreign));
        assert_eq!(open(&bytes[..HEADER], MINE), Err(Refusal::Corrupt));
    }

    #[test]
    fn only_a_whole_header_of_this_format_is_trusted() {
        let bytes = sealed(MINE, b"value", TIMES, b"");
        assert_eq!((trusted(&bytes), payload(&bytes)), (Some((1, 7, 42)), &b"value"[..]));
        assert_eq!((trusted(&bytes[..HEADER]), payload(&bytes[..HEADER])), (Some((1, 7, 42)), &b""[..]));
        assert_eq!((trusted(&bytes[..HEADER - 1]), payload(&bytes[..HEADER - 1])), (None, &b""[..]));
        let tagged = sealed(MINE, b"value", TIMES, b"tag");
        assert_eq!((trusted(&tagged), payload(&tagged)), (Some((1, 7, 42)), &b"value"[..]));
        for index in 0..2 {
            let mut other = bytes.clone();
            other[index] ^= 1;
            assert_eq!(trusted(&other), None);
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        for tag in [&b""[..], b"tag"] {
            let bytes = sealed(MINE, b"some value", TIMES, tag);
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(open(&flipped, MINE).is_err(), "bit {bit}");
            }
            for end in 0..bytes.len() {
                assert!(open(&bytes[..end], MINE).is_err(), "{end} bytes");
            }
            let longer = [&bytes[..], b"\0"].concat();
            assert!(open(&longer, MINE).is_err());
        }
    }

    proptest! {
        #[test]
        fn bytes_that_were_never_sealed_are_refused(
            bytes in any::<Vec<u8>>(),
            (start, more, tail) in (0..=HEADER, any::<bool>(), any::<Vec<u8>>()),
        ) {
            any_bytes(&bytes);
            let mut head = begin(MINE, TIMES, if more { b"t" } else { b"" });
            head[CODEC] = 1;
            any_bytes(&[&head[..start], &tail].concat());
        }
    }
}
