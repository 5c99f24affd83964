//! Hashes a function's source, for keys that the user left to the attribute:
//! functions with the same path but different code must not share entries.
//!
//! Spacing and comments do not count. The hash is FNV-1a with 32 bits.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;

use crate::func::Func;

/// Hashes the signature and the body.
pub(crate) fn fingerprint(func: &Func) -> u32 {
    let mut hash = 0x811c_9dc5;
    tokens(func.sig.to_token_stream(), &mut hash);
    tokens(func.body.stream(), &mut hash);
    hash
}

fn tokens(stream: TokenStream, hash: &mut u32) {
    for token in stream {
        match token {
            TokenTree::Group(group) => {
                text(&format!("{:?}", group.delimiter()), hash);
                tokens(group.stream(), hash);
                text("end", hash);
            }
            token => text(&token.to_string(), hash),
        }
    }
}

fn text(text: &str, hash: &mut u32) {
    for byte in text.bytes().chain([0]) {
        *hash = (*hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
}
