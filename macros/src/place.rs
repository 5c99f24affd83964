//! Where the compiler reports what is wrong with a token of an expansion.

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::spanned::Spanned;

/// Moves tokens to a place; what their names mean stays as it was.
pub(crate) fn located(tokens: TokenStream, place: Span) -> TokenStream {
    let moved = |mut token: TokenTree| {
        token.set_span(token.span().located_at(place));
        token
    };
    tokens.into_iter().map(moved).collect()
}

/// Returns the place of `tokens` for a token of the expansion's own.
pub(crate) fn place(tokens: &impl Spanned) -> Span {
    Span::mixed_site().located_at(tokens.span())
}
