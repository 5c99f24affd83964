//! A value's stored form for one key: codec, framing, compression and signature.
//!
//! It performs no I/O and knows nothing of a value's time to live.

use std::any::type_name;
use std::borrow::Cow;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::codec::{self, Codecs, Framing};
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::time::servant::survive;
use crate::value::envelope::{self, CLIENT_FLAGS, Contents, Identity, Refusal, Times};
use crate::value::flags;
use crate::value::likeness::Likeness;
use crate::value::signature::{self, SIGNED, Secret, Signing};

/// The stored form of one type's values under one key.
pub(crate) struct Form<V> {
    codec: Codecs<V>,
    frame: Frame,
    /// Compares a value with what is read back of it, where the type can.
    likeness: Option<Likeness<V>>,
    /// The length in bytes from which on a value is compressed.
    compress: Option<usize>,
    /// `None` without a secret, and for bare bytes, which have no room for a
    /// signature.
    signing: Option<Signing>,
}

/// A cache's settings for all values that it stores.
#[derive(Clone, Copy)]
pub(crate) struct Wrapping<'a> {
    /// The length in bytes from which on a value is compressed.
    pub(crate) compress: Option<usize>,
    /// The secret that enveloped values are signed with.
    pub(crate) secret: Option<&'a Secret>,
}

/// A value as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) bytes: Vec<u8>,
    /// The item flags that describe the bytes.
    pub(crate) flags: u32,
}

/// A value read from stored bytes.
#[derive(Debug)]
pub(crate) struct Found<V> {
    pub(crate) value: V,
    /// `None` for bare bytes, which do not tell.
    pub(crate) times: Option<Times>,
    /// What the body has set to recognise the value by.
    pub(crate) tag: Box<[u8]>,
}

impl<V> Found<V> {
    /// Returns the time the value took to compute, in nanoseconds, if that is known.
    pub(crate) fn cost(&self) -> u64 {
        self.times.unwrap_or_default().cost
    }
}

impl<V> Form<V> {
    /// Builds the form of values under this key.
    pub(crate) fn of(key: &Key, codec: Codecs<V>, version: u32, wrapping: Wrapping<'_>) -> Self {
        let Wrapping { compress, secret } = wrapping;
        let frame = match codec.framing() {
            Framing::Envelope => {
                // Unsigned values and those of another secret count as other versions.
                let signed = secret.map_or(0, Secret::number);
                let schema = schema(codec.schema(), key.owner(), version) ^ signed;
                Frame::Envelope(Identity { codecs: codec.ids(), schema, key: key.fingerprint(), is_grouped: false })
            }
            Framing::Bare => Frame::Bare { flags: codec.flags() },
        };
        let signing = secret.filter(|_| matches!(frame, Frame::Envelope(_))).map(|secret| secret.signing(key));
        Form { codec, frame, likeness: None, compress, signing }
    }

    /// Compares values with what is read back of them as well.
    pub(crate) fn compared(self, likeness: Option<Likeness<V>>) -> Self {
        Form { likeness, ..self }
    }

    /// Values are in groups and carry their stamps.
    pub(crate) fn grouped(mut self) -> Self {
        match &mut self.frame {
            Frame::Envelope(identity) => identity.is_grouped = true,
            frame @ (Frame::Bare { .. } | Frame::Roomless) => *frame = Frame::Roomless,
        }
        self
    }

    /// Returns a number that forms have in common which can read each other's values, apart
    /// from the key.
    pub(crate) fn number(&self) -> u64 {
        match self.frame {
            Frame::Envelope(identity) => identity.mark(),
            Frame::Bare { flags } => xxh3_64_with_seed(type_name::<V>().as_bytes(), flags.into()),
            Frame::Roomless => 0,
        }
    }

    /// Encodes, frames, compresses and signs a value.
    pub(crate) fn pack(&self, value: &V, times: Times, tag: &[u8]) -> Result<Record, Error> {
        self.pack_as(self.frame, times, tag, &|out| {
            let start = out.len();
            let id = self.codec.encode(value, out)?;
            let Some(likeness) = &self.likeness else { return Ok(id) };
            let bytes = &out[start..];
            let decode = || codec::off_the_worker(bytes.len(), || self.codec.decode(id, bytes).ok());
            if likeness.holds(value, decode) { Ok(id) } else { Err(unlike::<V>()) }
        })
    }

    /// Verifies and decodes stored bytes of this form.
    pub(crate) fn unpack(&self, bytes: &[u8], flags: u32) -> Result<Found<V>, Refusal> {
        self.unpack_as(self.frame, &self.codec, bytes, flags)
    }

    /// Packs a record other than a value for the same key. The tag distinguishes
    /// it from values and from other such records. `None` if the framing has no
    /// room for a tag.
    pub(crate) fn pack_beside<W>(
        &self,
        tag: u64,
        codec: &Codecs<W>,
        value: &W,
        times: Times,
    ) -> Option<Result<Record, Error>> {
        let frame = self.frame.beside(tag, codec)?;
        Some(self.pack_as(frame, times, b"", &|out| codec.encode(value, out)))
    }

    /// Unpacks a record that [`Form::pack_beside`] packed with this tag.
    pub(crate) fn unpack_beside<W>(
        &self,
        tag: u64,
        codec: &Codecs<W>,
        bytes: &[u8],
        flags: u32,
    ) -> Result<Found<W>, Refusal> {
        self.unpack_as(self.frame.beside(tag, codec).ok_or(Refusal::Foreign)?, codec, bytes, flags)
    }

    fn pack_as(
        &self,
        frame: Frame,
        times: Times,
        tag: &[u8],
        encode: &dyn Fn(&mut Vec<u8>) -> Result<u8, Error>,
    ) -> Result<Record, Error> {
        let Record { bytes, flags } = frame.pack(times, tag, &|out| unbroken(|| encode(out), Error::encode))?;
        let (bytes, flags) = flags::compressed(Cow::Owned(bytes), flags, self.compress);
        let (bytes, flags) = match &self.signing {
            Some(signing) => signing.sign(bytes.into_owned(), flags),
            None => (bytes.into_owned(), flags),
        };
        Ok(Record { bytes, flags })
    }

    fn unpack_as<W>(&self, frame: Frame, codec: &Codecs<W>, bytes: &[u8], flags: u32) -> Result<Found<W>, Refusal> {
        let bytes = frame.verified(self.signing.as_ref(), bytes, flags)?;
        let payload = |bytes, flags| codec.payload(bytes, flags);
        let Opened { codec: id, payload, times, tag } = frame.open(bytes, flags, payload)?;
        let value = unbroken(|| codec.decode(id, &payload), Error::decode).map_err(|_| Refusal::Corrupt)?;
        Ok(Found { value, times, tag })
    }

    /// Whether the value is equal to this stored one, as far as that is checked. Programs
    /// built for debugging check it each time.
    pub(crate) fn is_like(&self, value: &V, stored: &Record) -> bool {
        let Some(likeness) = &self.likeness else { return true };
        let decode = || self.unpack(&stored.bytes, stored.flags).ok().map(|found| found.value);
        let is_like =
            || if cfg!(debug_assertions) { likeness.is_equal(value, decode) } else { likeness.holds(value, decode) };
        survive(is_like).unwrap_or(false)
    }

    /// Packs a stored value again with other times, and with another tag if there is one.
    /// It is not decoded.
    pub(crate) fn renewed(&self, record: &Record, times: Times, tag: Option<&[u8]>) -> Result<Record, Error> {
        let frame @ Frame::Envelope(_) = self.frame else { return Ok(record.clone()) };
        let opened = frame.verified(self.signing.as_ref(), &record.bytes, record.flags);
        let opened = opened.and_then(|bytes| frame.open(bytes, record.flags, |bytes, _| Ok(bytes)));
        let Ok(Opened { codec, payload, tag: own, .. }) = opened else {
            return Err(Error::encode("the stored value is damaged"));
        };
        self.pack_as(frame, times, tag.unwrap_or(&own), &|out| {
            out.extend_from_slice(&payload);
            Ok(codec)
        })
    }
}

/// Returns the error of a value that its own `==` tells from what is read back.
fn unlike<V>() -> Error {
    let message = format!(
        "a value of type `{}` cannot be stored: what is read back is not equal to it; does its type use serde's \
         `skip`, or a `with` that loses something? store all of it, or write a codec for it (`codec = path`)",
        type_name::<V>()
    );
    Error::new(ErrorKind::Encode, message)
}

/// What the envelope of a plain value says beside the value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredAs {
    /// The id of the codec.
    pub(crate) codec: u8,
    /// The time the value took to compute, in nanoseconds.
    pub(crate) cost: u64,
}

/// Shortcuts for a record that this process has already packed or unpacked for the
/// same key.
impl Record {
    /// Whether the bytes are an envelope that is neither compressed nor signed.
    pub(crate) fn is_plain(&self) -> bool {
        self.flags == CLIENT_FLAGS
    }

    /// Returns what a plain value of this type and version was stored with.
    pub(crate) fn stored_as<V>(&self, codec: &Codecs<V>, owner: u64, version: u32) -> Option<StoredAs> {
        if codec.framing() != Framing::Envelope {
            return None;
        }
        let (id, found, cost) = envelope::trusted(&self.bytes)?;
        let is_own = codec.include(id) && found == schema(codec.schema(), owner, version);
        is_own.then_some(StoredAs { codec: id, cost })
    }

    /// Decodes the payload of a plain value that the codec with this id has encoded.
    #[inline]
    pub(crate) fn decoded<V>(&self, codec: &Codecs<V>, id: u8) -> Result<V, Error> {
        unbroken(|| codec.decode_again(id, envelope::payload(&self.bytes)), Error::decode)
    }
}

/// Runs a codec, or what compares values, which are other people's code: a panic is an error.
#[inline]
fn unbroken<T>(work: impl FnOnce() -> Result<T, Error>, error: fn(&'static str) -> Error) -> Result<T, Error> {
    survive(work).unwrap_or_else(|| Err(error("the codec panicked")))
}

/// The part of a form that does not depend on the type: what surrounds the payload.
#[derive(Clone, Copy)]
enum Frame {
    /// A header that identifies the key, type, version and codec.
    Envelope(Identity),
    /// The payload alone, described only by its flags.
    Bare { flags: u32 },
    /// The payload alone, which has no room for the stamps that it needs: nothing can be
    /// stored.
    Roomless,
}

/// What a frame surrounds.
struct Opened<'a> {
    /// The codec that the payload names; 0 for bare bytes.
    codec: u8,
    payload: Cow<'a, [u8]>,
    times: Option<Times>,
    tag: Box<[u8]>,
}

impl Frame {
    /// Derives the frame of a tagged record under the same key.
    fn beside<W>(self, tag: u64, codec: &Codecs<W>) -> Option<Frame> {
        let (Frame::Envelope(own), Framing::Envelope) = (self, codec.framing()) else { return None };
        let schema = xxh3_64_with_seed(&codec.schema().to_le_bytes(), own.schema ^ tag);
        Some(Frame::Envelope(Identity { codecs: codec.ids(), schema, ..own }))
    }

    fn pack(
        self,
        times: Times,
        tag: &[u8],
        encode: &dyn Fn(&mut Vec<u8>) -> Result<u8, Error>,
    ) -> Result<Record, Error> {
        match self {
            Frame::Envelope(identity) => {
                let mut bytes = envelope::begin(identity, times, tag);
                let codec = encode(&mut bytes)?;
                envelope::seal(&mut bytes, codec);
                Ok(Record { bytes, flags: CLIENT_FLAGS })
            }
            Frame::Bare { flags } => {
                let mut bytes = Vec::new();
                encode(&mut bytes)?;
                Ok(Record { bytes, flags })
            }
            Frame::Roomless => Err(Error::encode(
                "bare bytes have no room for the stamps of a group: choose a codec whose values have an envelope",
            )),
        }
    }

    /// Verifies the signature and strips it. This comes before anything else reads
    /// the bytes.
    fn verified<'a>(self, signing: Option<&Signing>, bytes: &'a [u8], flags: u32) -> Result<&'a [u8], Refusal> {
        let Frame::Envelope(identity) = self else { return Ok(bytes) };
        let other_version = Err(Refusal::OtherVersion { mark: identity.mark() });
        match (signing, flags::kind(flags)) {
            (Some(signing), SIGNED_FLAGS) if signing.is_of_another(bytes) => other_version,
            (Some(signing), SIGNED_FLAGS) => signing.verified(bytes, flags).ok_or(Refusal::Corrupt),
            (Some(_), CLIENT_FLAGS) | (None, SIGNED_FLAGS) => other_version,
            (Some(_), _) => Err(Refusal::Foreign),
            (None, _) => Ok(bytes),
        }
    }

    /// Unwraps the payload.
    fn open<'a>(
        self,
        bytes: &'a [u8],
        flags: u32,
        payload: impl FnOnce(Cow<'a, [u8]>, u32) -> Result<Cow<'a, [u8]>, Error>,
    ) -> Result<Opened<'a>, Refusal> {
        match self {
            Frame::Envelope(identity) => {
                let uncompressed = flags::uncompressed(Cow::Borrowed(bytes), flags);
                match uncompressed.map_err(|_| Refusal::Corrupt)?.0 {
                    Cow::Borrowed(bytes) => {
                        let Contents { codec, payload, times, tag } = envelope::open(bytes, identity)?;
                        Ok(Opened { codec, payload: Cow::Borrowed(payload), times: Some(times), tag: tag.into() })
                    }
                    Cow::Owned(bytes) => {
                        let Contents { codec, payload, times, tag } = envelope::open(&bytes, identity)?;
                        Ok(Opened { codec, payload: Cow::Owned(payload.to_vec()), times: Some(times), tag: tag.into() })
                    }
                }
            }
            Frame::Bare { flags: own } => {
                let payload = flags::bare(bytes, flags, own, payload).map_err(|_| Refusal::Foreign)?;
                Ok(Opened { codec: 0, payload, times: None, tag: Box::default() })
            }
            Frame::Roomless => Err(Refusal::Foreign),
        }
    }
}

/// Renders the first bytes of a stored value for people: as text if it is text,
/// otherwise in hexadecimal digits.
pub(crate) fn shown(bytes: &[u8], flags: u32) -> String {
    const MOST: usize = 256;
    let signature = if flags::kind(flags) == SIGNED_FLAGS { signature::LENGTH } else { 0 };
    let bytes = &bytes[..bytes.len().saturating_sub(signature)];
    let Ok((bytes, flags)) = flags::uncompressed(Cow::Borrowed(bytes), flags) else { return String::new() };
    let is_enveloped = matches!(flags, CLIENT_FLAGS | SIGNED_FLAGS);
    let payload = if is_enveloped { envelope::payload(&bytes) } else { &bytes };
    let text = |payload| std::str::from_utf8(payload).ok().filter(|text| !text.contains(char::is_control));
    match text(payload) {
        Some(text) if text.len() <= MOST => text.to_owned(),
        Some(text) => {
            let end = (0..=MOST - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end));
            format!("{}…", &text[..end.unwrap_or(0)])
        }
        None => {
            let digits = payload.iter().take(MOST / 2 - 1).map(|byte| format!("{byte:02x}"));
            std::iter::once("0x".to_owned()).chain(digits).collect()
        }
    }
}

const SIGNED_FLAGS: u32 = CLIENT_FLAGS | SIGNED;

/// Fingerprints what writer and reader must agree on: the structure of the value's
/// type, the type that owns the method, and the function's version.
#[inline]
fn schema(structure: u64, owner: u64, version: u32) -> u64 {
    let both = u128::from(structure) | u128::from(owner) << 64;
    xxh3_64_with_seed(&both.to_le_bytes(), u64::from(version))
}
