//! The attribute's arguments as the user wrote them: tokens → [`Spec`].
//!
//! Accepted spellings, in the order of [`ARGUMENTS`]:
//!
//! ```text
//! key = "text:<placeholder>"      skip(a, self)          ttl = duration | forever
//! grace = duration                refresh_ahead = duration | auto
//! cache_none = duration           cache_err = duration   store_if = |value| …
//! when = expression               near = duration        single_flight = lease | local | off
//! on_error = bypass | propagate   codec = bincode | postcard | json | text | path
//! version = 3                     name = "label"         entry = companion_name
//! cache = expression              crate = path
//! ```
//!
//! A duration is `300`, `"5m"` or an expression (`duration`). What durations
//! mean together is in `freshness`.
//!
//! Rules that need the function's signature too are in `plan`.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Expr, Ident, Lit, LitStr, Path, Token};

use crate::duration::{self, Period};
use crate::errors::Errors;
use crate::freshness::{Freshness, RefreshAhead, Ttl};
use crate::nearest::nearest;

pub(crate) const ARGUMENTS: [&str; 18] = [
    "key",
    "skip",
    "ttl",
    "grace",
    "refresh_ahead",
    "cache_none",
    "cache_err",
    "store_if",
    "when",
    "near",
    "single_flight",
    "on_error",
    "codec",
    "version",
    "name",
    "entry",
    "cache",
    "crate",
];

/// What the user wrote, with its spans.
#[derive(Default)]
pub(crate) struct Spec {
    pub(crate) key: Option<LitStr>,
    pub(crate) skip: Vec<Ident>,
    pub(crate) freshness: Freshness,
    pub(crate) cache_none: Option<Period>,
    pub(crate) cache_err: Option<Period>,
    pub(crate) store_if: Option<Expr>,
    pub(crate) when: Option<Expr>,
    pub(crate) single_flight: Option<SingleFlight>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) codec: Option<Codec>,
    pub(crate) version: Option<u32>,
    pub(crate) name: Option<LitStr>,
    pub(crate) entry: Option<Ident>,
    pub(crate) cache: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

/// Who computes a value at the same time.
pub(crate) enum SingleFlight {
    /// One of all that share the servers.
    Lease,
    /// One in each process.
    Local,
    /// Whoever asks.
    Off,
}

/// What trouble with the cache does to the caller.
pub(crate) enum OnError {
    Bypass,
    Propagate,
}

/// What values are stored as.
pub(crate) enum Codec {
    /// One of the runtime's, by the name of its type.
    Named(Ident),
    Path(Path),
}

/// Reads all arguments; a mistake in one does not hide those in the next.
pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Spec {
    let mut spec = Spec::default();
    let mut seen = Vec::new();
    let read = |input: ParseStream| {
        while !input.is_empty() {
            let argument = argument(input, &mut spec, &mut seen, errors);
            let failed = errors.ok(argument.and_then(|()| end_of_argument(input))).is_none();
            if failed {
                skip_to_comma(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    if let Err(error) = read.parse2(tokens) {
        errors.push_error(error);
    }
    spec
}

fn argument(input: ParseStream, spec: &mut Spec, seen: &mut Vec<Ident>, errors: &mut Errors) -> syn::Result<()> {
    let name = input.call(Ident::parse_any).map_err(|error| {
        let message = format!("expected an argument: {}", list());
        syn::Error::new(error.span(), message)
    })?;
    let text = name.to_string();
    if !ARGUMENTS.contains(&text.as_str()) {
        return Err(syn::Error::new_spanned(&name, unknown(&text)));
    }
    if seen.contains(&name) {
        errors.push(&name, format!("`{name}` is given twice; keep one"));
    }
    seen.push(name.clone());
    if text == "skip" {
        spec.skip.extend(skip(input, &name)?);
        return Ok(());
    }
    if !input.peek(Token![=]) {
        return Err(syn::Error::new_spanned(&name, format!("`{name}` needs a value; write `{}`", example(&text))));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        return Err(syn::Error::new_spanned(&name, format!("`{name}` needs a value; write `{}`", example(&text))));
    }
    match text.as_str() {
        "key" => spec.key = Some(string(input, &text)?),
        "ttl" => spec.freshness.ttl = Some(ttl(input)?),
        "grace" => spec.freshness.grace = Some(period(input, &text)?),
        "refresh_ahead" => spec.freshness.refresh_ahead = Some(refresh_ahead(input)?),
        "cache_none" => spec.cache_none = Some(period(input, &text)?),
        "cache_err" => spec.cache_err = Some(period(input, &text)?),
        "store_if" => spec.store_if = Some(closure(input)?),
        "when" => spec.when = Some(input.parse()?),
        "near" => spec.freshness.near = Some(period(input, &text)?),
        "single_flight" => spec.single_flight = Some(single_flight(input)?),
        "on_error" => spec.on_error = Some(on_error(input)?),
        "codec" => spec.codec = Some(codec(input)?),
        "version" => spec.version = Some(version(input)?),
        "name" => spec.name = Some(string(input, &text)?),
        "entry" => spec.entry = Some(entry(input)?),
        "cache" => spec.cache = Some(input.parse()?),
        _ => spec.krate = Some(krate(input)?),
    }
    Ok(())
}

/// How each argument is written.
fn example(name: &str) -> &'static str {
    match name {
        "key" => "key = \"user:<id>\"",
        "skip" => "skip(connection)",
        "ttl" => "ttl = 300",
        "grace" => "grace = \"1h\"",
        "refresh_ahead" => "refresh_ahead = \"30s\"",
        "cache_none" => "cache_none = 10",
        "cache_err" => "cache_err = 10",
        "store_if" => "store_if = |value| !value.is_empty()",
        "when" => "when = limit < 100",
        "near" => "near = \"1s\"",
        "single_flight" => "single_flight = local",
        "on_error" => "on_error = bypass",
        "codec" => "codec = json",
        "version" => "version = 1",
        "name" => "name = \"users\"",
        "entry" => "entry = user_entry",
        "cache" => "cache = &self.cache",
        _ => "crate = my_prelude::memocached",
    }
}

fn skip(input: ParseStream, name: &Ident) -> syn::Result<Vec<Ident>> {
    if !input.peek(syn::token::Paren) {
        return Err(syn::Error::new_spanned(name, "`skip` lists parameters in parentheses; write `skip(connection)`"));
    }
    let list;
    syn::parenthesized!(list in input);
    let names = list.parse_terminated(Ident::parse_any, Token![,]);
    let names = names.map_err(|error| {
        syn::Error::new(error.span(), "`skip` takes parameters by name, such as `skip(self, connection)`")
    })?;
    Ok(names.into_iter().collect())
}

fn string(input: ParseStream, name: &str) -> syn::Result<LitStr> {
    let expr = plain(input.parse()?);
    let text = match &expr {
        Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => text.clone(),
        _ => {
            return Err(syn::Error::new_spanned(expr, format!("`{name}` takes a string; write `{}`", example(name))));
        }
    };
    if name == "name" && text.value().is_empty() {
        return Err(syn::Error::new_spanned(text, "the name is empty; leave `name` out to use the function's path"));
    }
    Ok(text)
}

fn ttl(input: ParseStream) -> syn::Result<Ttl> {
    let expr = plain(input.parse()?);
    match word(&expr) {
        Some(word) if word == "forever" => Ok(Ttl::Forever),
        _ => duration::read(expr, "ttl").map(Ttl::For),
    }
}

fn period(input: ParseStream, name: &str) -> syn::Result<Period> {
    duration::read(plain(input.parse()?), name)
}

fn refresh_ahead(input: ParseStream) -> syn::Result<RefreshAhead> {
    let expr = plain(input.parse()?);
    match word(&expr) {
        Some(word) if word == "auto" => Ok(RefreshAhead::Auto(word.clone())),
        _ => duration::read(expr, "refresh_ahead").map(RefreshAhead::Window),
    }
}

fn closure(input: ParseStream) -> syn::Result<Expr> {
    match plain(input.parse()?) {
        Expr::Lit(literal) => Err(syn::Error::new_spanned(
            literal,
            "`store_if` takes a closure over the value; write `store_if = |value| !value.is_empty()`",
        )),
        Expr::Closure(closure) if closure.inputs.len() != 1 => Err(syn::Error::new_spanned(
            closure,
            "`store_if` is asked with one thing, a reference to the value; write `|value| …`",
        )),
        expr => Ok(expr),
    }
}

fn on_error(input: ParseStream) -> syn::Result<OnError> {
    let expr: Expr = plain(input.parse()?);
    match word(&expr).map(Ident::to_string).as_deref() {
        Some("bypass") => Ok(OnError::Bypass),
        Some("propagate") => Ok(OnError::Propagate),
        _ => Err(syn::Error::new_spanned(expr, "`on_error` is `bypass` or `propagate`")),
    }
}

fn single_flight(input: ParseStream) -> syn::Result<SingleFlight> {
    let expr: Expr = plain(input.parse()?);
    match word(&expr).map(Ident::to_string).as_deref() {
        Some("lease") => Ok(SingleFlight::Lease),
        Some("local") => Ok(SingleFlight::Local),
        Some("off") => Ok(SingleFlight::Off),
        _ => Err(syn::Error::new_spanned(expr, "`single_flight` is `lease`, `local` or `off`")),
    }
}

fn codec(input: ParseStream) -> syn::Result<Codec> {
    let expr: Expr = plain(input.parse()?);
    let word = word(&expr).map(Ident::to_string);
    let named = match word.as_deref() {
        Some("bincode") => "Bincode",
        Some("postcard") => "Postcard",
        Some("json") => "Json",
        Some("text") => "Text",
        _ => return path_of_codec(expr),
    };
    Ok(Codec::Named(Ident::new(named, syn::spanned::Spanned::span(&expr))))
}

fn path_of_codec(expr: Expr) -> syn::Result<Codec> {
    let Expr::Path(path) = expr else {
        let message = "`codec` is `bincode`, `postcard`, `json`, `text`, or the path of a type that implements `Codec`";
        return Err(syn::Error::new_spanned(expr, message));
    };
    // Types begin with a capital; anything else is a slip in a codec's name.
    let last = path.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
    if path.path.get_ident().is_some() && last.starts_with(|c: char| c.is_ascii_lowercase()) {
        let known = nearest(&last, &["bincode", "postcard", "json", "text"]);
        let message = match known {
            Some(known) => format!("unknown codec `{last}`; did you mean `{known}`?"),
            None => format!("unknown codec `{last}`; the codecs are `bincode`, `postcard`, `json` and `text`"),
        };
        return Err(syn::Error::new_spanned(path, message));
    }
    Ok(Codec::Path(path.path))
}

fn version(input: ParseStream) -> syn::Result<u32> {
    let expr = plain(input.parse()?);
    let number = match &expr {
        Expr::Lit(syn::ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| syn::Error::new_spanned(expr, "`version` is a whole number from 0 to 4294967295"))
}

fn entry(input: ParseStream) -> syn::Result<Ident> {
    let expr = plain(input.parse()?);
    match &expr {
        // A keyword such as `self` is a path, but no name.
        Expr::Path(path) => syn::parse2(path.to_token_stream()).ok(),
        _ => None,
    }
    .ok_or_else(|| syn::Error::new_spanned(expr, "`entry` is the name of the companion; write `entry = user_entry`"))
}

fn krate(input: ParseStream) -> syn::Result<Path> {
    let message = "`crate` takes the path of memocached; write `crate = my_prelude::memocached`";
    let path = input.call(Path::parse_mod_style).map_err(|error| syn::Error::new(error.span(), message))?;
    // No module is within a type.
    match path.segments.iter().find(|segment| segment.ident == "Self") {
        Some(segment) => Err(syn::Error::new_spanned(segment, message)),
        None => Ok(path),
    }
}

/// The bare word an expression is, if it is one.
fn word(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Path(path) => path.path.get_ident(),
        _ => None,
    }
}

/// Without the invisible group around a macro's fragment.
fn plain(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => plain(*group.expr),
        expr => expr,
    }
}

fn list() -> String {
    ARGUMENTS.map(|known| format!("`{known}`")).join(", ")
}

fn unknown(name: &str) -> String {
    match nearest(name, &ARGUMENTS) {
        Some(known) => format!("unknown argument `{name}`; did you mean `{known}`?"),
        None => format!("unknown argument `{name}`; the arguments are {}", list()),
    }
}

fn end_of_argument(input: ParseStream) -> syn::Result<()> {
    if input.is_empty() || input.peek(Token![,]) { Ok(()) } else { Err(input.error("expected `,` between arguments")) }
}

fn skip_to_comma(input: ParseStream) -> syn::Result<()> {
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}
