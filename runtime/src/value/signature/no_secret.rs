//! Stands in for the secret while the feature `authenticated` is off. Its types
//! have no values.

use crate::key::Key;

/// A secret, of which there is none.
#[derive(Clone, Debug)]
pub(crate) enum Secret {}

/// A signer, of which there is none.
pub(crate) enum Signing {}

impl Secret {
    pub(crate) const FORM: &str = "nothing: memocached was built without its feature `authenticated`";

    pub(crate) fn from_text(_: &str) -> Option<Self> {
        None
    }

    pub(crate) fn number(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn signing(&self, _: &Key) -> Signing {
        match *self {}
    }
}

impl Signing {
    pub(crate) fn sign(&self, _: Vec<u8>, _: u32) -> (Vec<u8>, u32) {
        match *self {}
    }

    pub(crate) fn is_of_another(&self, _: &[u8]) -> bool {
        match *self {}
    }

    pub(crate) fn verified<'a>(&self, _: &'a [u8], _: u32) -> Option<&'a [u8]> {
        match *self {}
    }
}
