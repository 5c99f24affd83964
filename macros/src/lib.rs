//! The macros of the crate `memocached`: the attributes `#[memcached]`,
//! `#[invalidates]` and `#[updates]` (tokens → `Spec` → `Plan` → expansion), `group!`
//! and `#[derive(KeyPart)]`.
//!
//! Use them through `memocached`. Their pages are Markdown files here, so that
//! editors show them; their examples run as tests of that crate, which this one
//! cannot depend on. Nothing here is promised to be stable.
//!
//! With `--cfg fuzzing` this is an ordinary library, for the fuzz targets.

use proc_macro2::TokenStream;

#[cfg(any(test, fuzzing))]
pub mod any_text;
mod argument;
mod attr;
mod body;
mod derive;
mod duration;
mod each;
mod errors;
mod expand;
mod fingerprint;
mod freshness;
mod func;
mod generics;
mod group;
mod nearest;
mod owned;
mod plan;
mod returns;
mod span;
mod spec;
mod template;
#[cfg(test)]
mod tests;
mod writer;

use errors::Errors;
use func::{Attr, Func};
use writer::Change;

#[doc = include_str!("memcached.md")]
#[cfg(not(fuzzing))]
#[proc_macro_attribute]
pub fn memcached(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    memoize(arguments.into(), item.into()).into()
}

#[doc = include_str!("invalidates.md")]
#[cfg(not(fuzzing))]
#[proc_macro_attribute]
pub fn invalidates(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    write(Change::Invalidate, arguments.into(), item.into()).into()
}

#[doc = include_str!("updates.md")]
#[cfg(not(fuzzing))]
#[proc_macro_attribute]
pub fn updates(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    write(Change::Update, arguments.into(), item.into()).into()
}

#[doc = include_str!("group.md")]
#[cfg(not(fuzzing))]
#[proc_macro]
pub fn group(items: proc_macro::TokenStream) -> proc_macro::TokenStream {
    group::expand(items.into()).into()
}

#[doc = include_str!("key_part.md")]
#[cfg(not(fuzzing))]
#[proc_macro_derive(KeyPart, attributes(key))]
pub fn key_part(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    derive::derive(&input).into()
}

/// Expands `#[memcached]`.
fn memoize(arguments: TokenStream, item: TokenStream) -> TokenStream {
    or_unchanged(compile(arguments, item.clone()), item)
}

/// Expands `#[invalidates]` or `#[updates]`.
fn write(change: Change, arguments: TokenStream, item: TokenStream) -> TokenStream {
    or_unchanged(writer::compile(change, arguments, item.clone()), item)
}

/// Writes the errors and the unchanged function after a mistake, so that its callers raise no
/// errors of their own.
fn or_unchanged(expansion: Result<TokenStream, Errors>, item: TokenStream) -> TokenStream {
    expansion.unwrap_or_else(|errors| {
        let mut tokens = errors.into_compile_errors();
        tokens.extend(item);
        tokens
    })
}

fn compile(arguments: TokenStream, item: TokenStream) -> Result<TokenStream, Errors> {
    let mut errors = Errors::default();
    let spec = attr::parse(arguments, &mut errors);
    let func = errors.ok(Func::read(item, &Attr::MEMCACHED));
    let plan = func.as_ref().and_then(|func| plan::plan(spec, func, &mut errors));
    let expansion = match (&plan, &func) {
        (Some(plan), Some(func)) => expand::expand(plan, func),
        _ => TokenStream::new(),
    };
    errors.finish(expansion)
}
