//! Where the compiler reports what is wrong with a token of an expansion, and what
//! the names in it mean.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use syn::spanned::Spanned;

/// Moves tokens to a span; what their names mean stays as it was.
pub(crate) fn located(tokens: TokenStream, at: Span) -> TokenStream {
    let moved = |mut token: TokenTree| {
        token.set_span(token.span().located_at(at));
        token
    };
    tokens.into_iter().map(moved).collect()
}

/// Returns the span of `tokens` for a token of the expansion's own.
pub(crate) fn span_of(tokens: &impl Spanned) -> Span {
    Span::mixed_site().located_at(tokens.span())
}

/// Makes a name that the user's code cannot see.
pub(crate) fn hidden(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}
