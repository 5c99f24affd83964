//! The attribute `#[memcached]`: tokens → `Spec` → `Plan` → expansion.
//!
//! An implementation detail of the crate `memocached`, which re-exports and
//! documents it; nothing here has a promise of stability.
//!
//! Fuzz targets take it for a library like any other (`--cfg fuzzing`).

use proc_macro2::TokenStream;
use quote::ToTokens;

#[cfg(any(test, fuzzing))]
pub mod any_text;
mod argument;
mod attr;
mod derive;
mod duration;
mod errors;
mod expand;
mod fingerprint;
mod freshness;
mod func;
mod nearest;
mod owned;
mod plan;
mod returns;
mod spec;
mod template;
#[cfg(test)]
mod tests;

use errors::Errors;

/// See `memocached::memcached`.
#[cfg(not(fuzzing))]
#[proc_macro_attribute]
pub fn memcached(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    memoize(arguments.into(), item.into()).into()
}

/// See `memocached::KeyPart`.
#[cfg(not(fuzzing))]
#[proc_macro_derive(KeyPart, attributes(key))]
pub fn key_part(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    derive::derive(&input).into()
}

/// After a mistake: the errors, and the function as it was, so that its
/// callers raise no errors of their own.
fn memoize(arguments: TokenStream, item: TokenStream) -> TokenStream {
    compile(arguments, item.clone()).unwrap_or_else(|errors| {
        let mut tokens = errors.into_compile_errors();
        item.to_tokens(&mut tokens);
        tokens
    })
}

fn compile(arguments: TokenStream, item: TokenStream) -> Result<TokenStream, Errors> {
    let mut errors = Errors::default();
    let spec = attr::parse(arguments, &mut errors);
    let func: Option<func::Func> = errors.ok(syn::parse2(item));
    let plan = func.as_ref().and_then(|func| plan::plan(spec, func, &mut errors));
    let expansion = match (&plan, &func) {
        (Some(plan), Some(func)) => expand::expand(plan, func),
        _ => TokenStream::new(),
    };
    errors.finish(expansion)
}
