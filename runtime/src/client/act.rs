//! What a client does with one key, as a request says it.
//!
//! Knows the key's name only when the request is made.

use std::borrow::Cow;

use crate::codec::Codec;
use crate::error::Error;
use crate::exchange::{Direction, Guard, Request, Ttl, Verb, Write};
use crate::telemetry::exchange::Exchange;
use crate::value::flags;
use crate::value::item::{RawItem, ToItem};

/// What is done with one key.
#[derive(Clone, Debug)]
pub(crate) enum Act<'a> {
    Get,
    GetAndTouch(Ttl),
    Store(Storing<'a>),
    Delete,
    Count(Direction, u64),
    Touch(Ttl),
}

/// A value on its way, and how it is written.
#[derive(Clone, Debug)]
pub(crate) struct Storing<'a> {
    value: Cow<'a, [u8]>,
    flags: u32,
    ttl: Ttl,
    how: Write,
    guard: Guard,
}

impl<'a> Act<'a> {
    /// Writes a value. Bytes that are put beside others get the ttl of those, not this one.
    ///
    /// # Errors
    ///
    /// If the value has no form, which is told as a call that failed.
    pub(crate) fn store(how: Write, value: &'a (impl ToItem + ?Sized), ttl: Ttl, guard: Guard) -> Result<Self, Error> {
        let verb = if guard == Guard::None { how.verb() } else { Verb::Cas };
        let (value, flags) = value.to_item().map_err(|error| formless(verb, error))?;
        Ok(Act::Store(Storing { value, flags, ttl, how, guard }))
    }

    /// Compresses a value of at least `threshold` bytes; what is put beside
    /// other bytes stays as it is.
    pub(crate) fn compressed(self, threshold: Option<usize>) -> Self {
        match self {
            Act::Store(Storing { value, flags, ttl, how: how @ (Write::Set | Write::Add | Write::Replace), guard }) => {
                let (value, flags) = flags::compressed(value, flags, threshold);
                Act::Store(Storing { value, flags, ttl, how, guard })
            }
            act => act,
        }
    }

    /// Returns the request that does it.
    pub(crate) fn request<'r>(&'r self, key: &'r str) -> Request<'r> {
        match self {
            Act::Get => Request::Get { key },
            Act::GetAndTouch(ttl) => Request::GetAndTouch { key, ttl: *ttl },
            Act::Store(Storing { value, flags, ttl, how, guard }) => {
                Request::Store { key, value, flags: *flags, ttl: *ttl, how: *how, guard: *guard }
            }
            Act::Delete => Request::Delete { key, guard: Guard::None },
            Act::Count(direction, by) => Request::Count { key, by: *by, direction: *direction },
            Act::Touch(ttl) => Request::Touch { key, ttl: *ttl },
        }
    }
}

/// Returns the bare bytes of a value in a codec, with the flags that other programs know them by.
///
/// # Errors
///
/// If the codec has no form for the value, which is told as a failed `set`.
pub(crate) fn encoded<T, C: Codec<T>>(codec: &C, value: &T) -> Result<RawItem, Error> {
    let mut bytes = Vec::new();
    codec.encode(value, &mut bytes).map_err(|error| formless(Verb::Set, error))?;
    Ok(RawItem { bytes, flags: codec.flags() })
}

/// Tells of a call whose value has no form.
fn formless(verb: Verb, error: Error) -> Error {
    Exchange::with_several(verb, None).end_all(Some(&error));
    error
}

/// Asks for one group of counters. No group has an unprintable name, so one is
/// asked for that the server does not know.
pub(crate) fn stats(group: &str) -> Request<'_> {
    let group = if group.bytes().all(|byte| byte.is_ascii_graphic()) { group } else { "unknown" };
    Request::Stats { group }
}
