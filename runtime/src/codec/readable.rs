//! JSON, read and written within limits.

use serde::Serialize;
use serde::de::DeserializeOwned;

use serde_json::error::Category;

use super::depth::Shallow;
use crate::error::{Error, ErrorKind};

const NO_SUCH_VALUE: &str = "the bytes are no value of this type";

pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    serde_json::to_writer(Shallow::new(out), value).map_err(Error::encode)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(refused)
}

/// serde_json quotes what it refuses.
fn refused(error: serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        Category::Eof => "the JSON ends too soon",
        Category::Syntax => "the bytes are no JSON",
        Category::Data | Category::Io => NO_SUCH_VALUE,
    };
    Error::new(ErrorKind::Decode, format!("{what}: line {line}, column {column}"))
}
