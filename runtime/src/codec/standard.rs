//! The choice of a cache's codec among those of this crate.
//!
//! A function's own codec, `codec = path`, does not come through here.

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "bincode")]
use super::Bincode;
#[cfg(feature = "json")]
use super::Json;
#[cfg(feature = "postcard")]
use super::Postcard;
#[cfg(all(feature = "json", any(feature = "bincode", feature = "postcard")))]
use super::schema;
use super::{Codec, Codecs};

/// The codec that a cache is configured with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standard {
    /// [`Bincode`].
    #[cfg(feature = "bincode")]
    Bincode,
    /// [`Postcard`].
    #[cfg(feature = "postcard")]
    Postcard,
    /// [`Json`].
    #[cfg(feature = "json")]
    Json,
}

impl Standard {
    /// The names that the configuration accepts.
    pub(crate) const FORM: &'static str = "`bincode`, `postcard` or `json`, if the feature of that name is enabled";

    /// Returns the codec itself, for values of type `T`.
    pub(crate) fn boxed<T: Serialize + DeserializeOwned>(self) -> Box<dyn Codec<T>> {
        match self {
            #[cfg(feature = "bincode")]
            Standard::Bincode => Box::new(Bincode),
            #[cfg(feature = "postcard")]
            Standard::Postcard => Box::new(Postcard),
            #[cfg(feature = "json")]
            Standard::Json => Box::new(Json),
        }
    }

    /// Returns the codec with another to fall back on: a self-describing one for
    /// values that a binary one cannot carry. Types that ask the format what comes
    /// next, such as serde_json's `Value`, have the self-describing one first.
    pub(crate) fn codecs<T: Serialize + DeserializeOwned>(self) -> Codecs<T> {
        #[cfg(all(feature = "json", any(feature = "bincode", feature = "postcard")))]
        if self != Standard::Json {
            let (binary, json) = (self.boxed(), Standard::Json.boxed());
            let (schema, asks) = schema::fingerprint_and_asks::<T>();
            let (first, second) = if asks { (json, binary) } else { (binary, json) };
            return Codecs::either(first, second, schema);
        }
        Codecs::only(self.boxed())
    }

    /// Finds the codec called `name`, if its feature is enabled.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            #[cfg(feature = "bincode")]
            "bincode" => Some(Standard::Bincode),
            #[cfg(feature = "postcard")]
            "postcard" => Some(Standard::Postcard),
            #[cfg(feature = "json")]
            "json" => Some(Standard::Json),
            _ => None,
        }
    }
}
