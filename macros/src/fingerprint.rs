//! A function's own text as a number, for keys without an author: functions of
//! one path that do different things must not share entries.
//!
//! Spacing and comments do not count. FNV-1a, 32 bits.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;

use crate::func::Func;

/// Over signature and body.
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
