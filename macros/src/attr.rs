//! The attribute's arguments as the user wrote them: tokens → [`Spec`].
//!
//! Accepted spellings, in the order of [`ARGUMENTS`]:
//!
//! ```text
//! key = "text:<placeholder>"      skip(a, self)          ttl = 300 | "5m" | forever | expression
//! version = 3                     name = "label"         entry = companion_name
//! cache = expression              crate = path
//! ```
//!
//! Rules that need the function's signature too are in `plan`.

use std::time::Duration;

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, Lit, LitInt, LitStr, Path, Token};

use crate::duration;
use crate::errors::Errors;
use crate::nearest::nearest;

const ARGUMENTS: [&str; 8] = ["key", "skip", "ttl", "version", "name", "entry", "cache", "crate"];

/// What the user wrote, with its spans.
#[derive(Default)]
pub(crate) struct Spec {
    pub(crate) key: Option<LitStr>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) ttl: Option<Ttl>,
    pub(crate) version: Option<u32>,
    pub(crate) name: Option<LitStr>,
    pub(crate) entry: Option<Ident>,
    pub(crate) cache: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

/// How long a value is fresh.
pub(crate) enum Ttl {
    Fixed(Duration),
    Forever,
    Expr(Box<Expr>),
}

/// Reads all arguments; a mistake in one does not hide those in the next.
pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Spec {
    let mut spec = Spec::default();
    let mut seen = Vec::new();
    let read = |input: ParseStream| {
        while !input.is_empty() {
            if let Err(error) = argument(input, &mut spec, &mut seen, errors) {
                errors.push_error(error);
                skip_to_comma(input)?;
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(())
    };
    errors_of(read.parse2(tokens), &mut spec)
}

/// `read` reports into `errors` itself; what is left is a missing comma.
fn errors_of(result: syn::Result<()>, spec: &mut Spec) -> Spec {
    let _ = result;
    std::mem::take(spec)
}

fn argument(input: ParseStream, spec: &mut Spec, seen: &mut Vec<Ident>, errors: &mut Errors) -> syn::Result<()> {
    let name: Ident = input.call(Ident::parse_any)?;
    if let Some(first) = seen.iter().find(|other| **other == name) {
        errors.push(&name, format!("`{first}` is given twice"));
    }
    seen.push(name.clone());
    let text = name.to_string();
    if text == "skip" {
        let list;
        syn::parenthesized!(list in input);
        spec.skip.extend(list.parse_terminated(Ident::parse_any, Token![,])?);
        return Ok(());
    }
    if !ARGUMENTS.contains(&text.as_str()) {
        return Err(syn::Error::new_spanned(&name, unknown(&text)));
    }
    input.parse::<Token![=]>()?;
    match text.as_str() {
        "key" => spec.key = Some(input.parse()?),
        "ttl" => spec.ttl = Some(ttl(input)?),
        "version" => spec.version = Some(input.parse::<LitInt>()?.base10_parse()?),
        "name" => spec.name = Some(input.parse()?),
        "entry" => spec.entry = Some(input.parse()?),
        "cache" => spec.cache = Some(input.parse()?),
        _ => spec.krate = Some(input.call(Path::parse_mod_style)?),
    }
    Ok(())
}

fn ttl(input: ParseStream) -> syn::Result<Ttl> {
    let expr: Expr = input.parse()?;
    let zero = "a ttl of zero would make memcached keep the value for ever; write `forever` if that is meant";
    let literal = match &expr {
        Expr::Lit(literal) => &literal.lit,
        Expr::Path(path) if path.path.is_ident("forever") => return Ok(Ttl::Forever),
        _ => return Ok(Ttl::Expr(Box::new(expr))),
    };
    let fixed = match literal {
        Lit::Int(seconds) if seconds.suffix().is_empty() => Duration::from_secs(seconds.base10_parse()?),
        Lit::Str(text) => duration::parse(&text.value()).ok_or_else(|| {
            syn::Error::new_spanned(text, "not a duration; write for example `\"90s\"`, `\"5m\"` or `\"1h30m\"`")
        })?,
        other => {
            let message = "not a duration; write seconds (`300`), text (`\"5m\"`), `forever` or a `Duration`";
            return Err(syn::Error::new_spanned(other, message));
        }
    };
    if fixed.is_zero() { Err(syn::Error::new_spanned(literal, zero)) } else { Ok(Ttl::Fixed(fixed)) }
}

fn unknown(name: &str) -> String {
    let list = ARGUMENTS.map(|known| format!("`{known}`")).join(", ");
    match nearest(name, &ARGUMENTS) {
        Some(known) => format!("unknown argument `{name}`; did you mean `{known}`? The arguments are {list}"),
        None => format!("unknown argument `{name}`; the arguments are {list}"),
    }
}

fn skip_to_comma(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}
