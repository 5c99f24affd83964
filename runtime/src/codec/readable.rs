//! The JSON format, whose decoder limits how deeply a value nests.
//!
//! Whether a value survives a round trip is checked by the codec, not here.

use serde::Serialize;
use serde::de::DeserializeOwned;

use serde_json::error::Category;

use crate::error::{Error, ErrorKind};

const NOT_A_VALUE: &str = "the bytes do not encode a value of this type";

pub(super) fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    serde_json::to_writer(out, value).map_err(Error::encode)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(refused)
}

/// Writes text as a string in JSON.
pub(super) fn quoted(text: &[u8]) -> Result<Vec<u8>, Error> {
    let text = std::str::from_utf8(text).map_err(Error::decode)?;
    serde_json::to_vec(text).map_err(Error::decode)
}

/// Replaces serde_json's message, which quotes the value.
fn refused(error: serde_json::Error) -> Error {
    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        Category::Eof => "the JSON ends unexpectedly",
        Category::Syntax => "the bytes are not valid JSON",
        Category::Data | Category::Io => NOT_A_VALUE,
    };
    Error::new(ErrorKind::Decode, format!("{what}: line {line}, column {column}"))
}
