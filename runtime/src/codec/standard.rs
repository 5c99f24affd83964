//! Which of this crate's codecs a cache is configured with.

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "bincode")]
use super::Bincode;
use super::Codec;
#[cfg(feature = "json")]
use super::Json;
#[cfg(feature = "postcard")]
use super::Postcard;

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
    /// The names that can be configured.
    pub(crate) const FORM: &'static str = "`bincode`, `postcard` or `json`, as far as the features are enabled";

    /// The codec itself, for values of type `T`.
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

    /// The codec called `name`, if it is built in.
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
