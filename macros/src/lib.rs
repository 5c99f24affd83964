//! The macros of the crate `memocached`: the attribute `#[memcached]` (tokens →
//! `Spec` → `Plan` → expansion) and `#[derive(KeyPart)]`.
//!
//! Use them through `memocached`, whose pages of them also have the examples:
//! an example needs that crate, and this one cannot depend on it. Nothing here
//! is promised to be stable.
//!
//! With `--cfg fuzzing` this is an ordinary library, for the fuzz targets.

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
mod generics;
mod nearest;
mod owned;
mod place;
mod plan;
mod returns;
mod spec;
mod template;
#[cfg(test)]
mod tests;

use errors::Errors;

/// # Arguments
///
/// All of them are optional and come in any order.
///
/// | argument | accepts | default | meaning |
/// |---|---|---|---|
/// | `key` | a template | the function's path and every parameter | the key under which a result is stored; without it, a change of the function's code changes the key |
/// | `skip(a, self)` | parameters, generic parameters | none | leaves them out of the key |
/// | `ttl` | a duration, `forever` | `MEMCACHED_TTL` | how long a value is fresh, rounded up to seconds |
/// | `grace` | a duration | none | how long after its ttl a value may still be served, while one caller refreshes it |
/// | `refresh_ahead` | a duration, `auto` | off | refreshes a value in the last part of its ttl, before a caller has to wait; `auto` starts earlier, the longer the function takes |
/// | `cache_none` | a duration | not stored | stores `None` too, for this long |
/// | `cache_err` | a duration | not stored | stores `Err` too, for this long; the error implements `Serialize` and `DeserializeOwned` |
/// | `store_if` | a closure from `&Value` to `bool` | always | decides whether a value is stored; it is returned in any case |
/// | `when` | an expression of type `bool` | `true` | decides whether this call uses the cache |
/// | `near` | a duration | off | keeps a copy in this process too, for this long but not beyond the ttl |
/// | `single_flight` | `lease`, `local`, `off` | `lease` | which callers wait while one computes: all that share the servers, those in this process, or none |
/// | `on_error` | `bypass`, `propagate` | `bypass` | what a call does when the cache fails: computes, or returns the error; `propagate` needs a `Result<_, E>` with `E: From<memocached::Error>` |
/// | `codec` | `bincode`, `postcard`, `json`, `text`, the path of a unit struct that implements `Codec` | `MEMCACHED_CODEC` | how a value becomes bytes; `text` stores exactly what `Display` writes and `FromStr` reads, for programs in other languages |
/// | `version` | an integer | 0 | part of what a stored value is checked for: after a change of the number, older values are misses |
/// | `entry` | an identifier | none | adds a function of this name that returns the `Entry` of a call; it takes the parameters that the key, the cache and the durations read |
/// | `name` | a string | the function's path | the function's name in metrics |
/// | `cache` | an expression of type `&Cache` | the cache of the process | the cache to use |
/// | `crate` | a path | `::memocached` | where the crate is, if it is renamed or re-exported |
///
/// A duration is a number of seconds (`300`), text (`"90s"`, `"1h30m"`), or an
/// expression of type `Duration`. Expressions can use the parameters.
#[cfg(not(fuzzing))]
#[proc_macro_attribute]
pub fn memcached(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    memoize(arguments.into(), item.into()).into()
}

/// # Attributes
///
/// | attribute | on | meaning |
/// |---|---|---|
/// | `#[key(skip)]` | a field, also of a variant | leaves the field out of the key |
/// | `#[key(crate = path)]` | the type | where `memocached` is, if it is renamed or re-exported |
#[cfg(not(fuzzing))]
#[proc_macro_derive(KeyPart, attributes(key))]
pub fn key_part(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let input = syn::parse_macro_input!(input as syn::DeriveInput);
    derive::derive(&input).into()
}

/// Expands the attribute. After a mistake it writes the errors and the function
/// as it was, so that its callers raise no errors of their own.
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
