//! What holds for any input, shared by property tests and fuzz targets.
//!
//! Each function panics if it does not hold; where input comes from is up to
//! the caller.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::template::{Format, Piece, parse, terminator};
use crate::writer::Change;

/// Checks that a template is refused, or that keys made from it can be told
/// apart.
pub fn template(text: &str) {
    let Ok(pieces) = parse(text) else { return };
    assert!(!pieces.is_empty(), "{text:?}");
    for piece in &pieces {
        match piece {
            Piece::Literal(literal) => {
                assert!(!literal.is_empty() && literal.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
            }
            Piece::Placeholder { expr, .. } => assert!(!expr.is_empty() && expr.trim() == expr, "{text:?}"),
        }
    }
    for pair in pieces.windows(2) {
        assert!(pair.iter().any(|piece| matches!(piece, Piece::Placeholder { .. })), "two literals: {text:?}");
        assert!(pair.iter().any(|piece| matches!(piece, Piece::Literal(_))), "two values: {text:?}");
    }
    for three in pieces.windows(3) {
        if let [Piece::Placeholder { .. }, Piece::Literal(between), _] = three {
            assert!(terminator(between).is_some(), "{text:?}");
        }
    }
    // Apart from spaces, the pieces are the whole text.
    let written: String = pieces.iter().map(written).collect();
    let solid = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(solid(&written), solid(text));
}

fn written(piece: &Piece) -> String {
    match piece {
        Piece::Literal(text) => text.replace('<', "<<"),
        Piece::Placeholder { expr, format } => {
            let format = match format {
                Format::Part => "",
                Format::Display => ":display",
                Format::Debug => ":debug",
                Format::Hash => ":hash",
                Format::Bits => ":bits",
            };
            format!("<{expr}{format}>")
        }
    }
}

/// Checks all macros on the item below the first `#[memcached(…)]` of a source
/// file, or on the whole file if there is none.
pub fn attribute(source: &str) {
    let Ok(tokens) = source.parse::<TokenStream>() else { return };
    let mut arguments = TokenStream::new();
    let mut rest = tokens.clone().into_iter();
    let found = rest.by_ref().find_map(|token| match token {
        TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => given(group.stream()),
        _ => None,
    });
    let item = match found {
        Some(given) => {
            arguments.extend(given);
            first_item(rest)
        }
        None => tokens,
    };
    derived(item.clone());
    grouped(item.clone());
    holds(arguments, item);
}

/// Returns what is in the parentheses of `memcached(…)`.
fn given(attribute: TokenStream) -> Option<TokenStream> {
    let mut tokens = attribute.into_iter();
    let is_ours = matches!(tokens.next(), Some(TokenTree::Ident(name)) if name == "memcached");
    match tokens.next() {
        Some(TokenTree::Group(arguments)) if is_ours => Some(arguments.stream()),
        _ => None,
    }
}

/// Takes the tokens up to the end of the first braces.
fn first_item(tokens: impl Iterator<Item = TokenTree>) -> TokenStream {
    let is_end = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
    let mut ended = false;
    tokens.take_while(|token| !std::mem::replace(&mut ended, is_end(token))).collect()
}

/// Checks that the output of each attribute for a function parses and contains that
/// function.
pub(crate) fn holds(arguments: TokenStream, item: TokenStream) {
    let function = syn::parse2::<syn::ItemFn>(item.clone());
    let cached = crate::memoize(arguments.clone(), item.clone());
    let [invalidates, updates] =
        [Change::Invalidate, Change::Update].map(|change| crate::write(change, arguments.clone(), item.clone()));
    let Ok(function) = function else { return };
    for output in [cached, invalidates, updates] {
        let kept = syn::parse2::<syn::File>(output.clone()).is_ok_and(|file| {
            let is_kept =
                |item: &syn::Item| matches!(item, syn::Item::Fn(item) if item.sig.ident == function.sig.ident);
            file.items.iter().any(is_kept)
        });
        assert!(kept, "{output}");
    }
}

/// Checks that what becomes of any groups parses.
pub(crate) fn grouped(groups: TokenStream) {
    let output = crate::group::expand(groups);
    assert!(syn::parse2::<syn::File>(output.clone()).is_ok(), "{output}");
}

/// Checks that the implementation derived for a type parses.
pub(crate) fn derived(item: TokenStream) {
    if let Ok(input) = syn::parse2(item) {
        let output = crate::derive::derive(&input);
        assert!(syn::parse2::<syn::File>(output.clone()).is_ok(), "{output}");
    }
}
