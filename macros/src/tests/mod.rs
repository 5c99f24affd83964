//! What the macros give for what people write, as snapshots, and that they
//! give something for whatever they are given.
//!
//! `UPDATE_EXPECT=1 cargo test -p memocached-macros` takes the snapshots anew.
//! How expansions behave is tested from outside, in the project's `tests/`.

use expect_test::Expect;
use proc_macro2::{Group, TokenStream, TokenTree};

use crate::writer::Change;

mod any_input;
mod batches;
mod bodies;
mod choices;
mod derive;
mod freshness;
mod groups;
mod keys;
mod mistakes;
mod writers;

/// A function below an attribute, against what becomes of it.
#[track_caller]
fn assert_expands(source: TokenStream, expected: Expect) {
    expected.assert_eq(&expanded(source));
}

/// A type, against its implementation of `KeyPart`.
#[track_caller]
fn assert_derives(source: TokenStream, expected: Expect) {
    let input = syn::parse2(source).expect("a type");
    expected.assert_eq(&pretty(crate::derive::derive(&input)));
}

/// What is inside `group!`, against the functions of the groups.
#[track_caller]
fn assert_defines(source: TokenStream, expected: Expect) {
    expected.assert_eq(&pretty(crate::group::expand(source)));
}

fn expanded(source: TokenStream) -> String {
    let mut tokens = source.into_iter().skip(1);
    let Some(TokenTree::Group(attribute)) = tokens.next() else { panic!("an attribute comes first") };
    let mut attribute = attribute.stream().into_iter();
    let name = attribute.next().map(|name| name.to_string());
    let arguments = attribute.next().map(|arguments| match arguments {
        TokenTree::Group(arguments) => Group::stream(&arguments),
        _ => panic!("arguments are in parentheses"),
    });
    let (arguments, item) = (arguments.unwrap_or_default(), tokens.collect());
    pretty(match name.as_deref() {
        Some("memcached") => crate::memoize(arguments, item),
        Some("invalidates") => crate::write(Change::Invalidate, arguments, item),
        Some("updates") => crate::write(Change::Update, arguments, item),
        _ => panic!("not an attribute of this crate: {name:?}"),
    })
}

fn pretty(tokens: TokenStream) -> String {
    prettyplease::unparse(&syn2::parse2(tokens).expect("items"))
}
