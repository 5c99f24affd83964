//! Reads the attribute's arguments: tokens → [`Spec`].
//!
//! Accepted spellings, in the order of [`Argument::ALL`]:
//!
//! ```text
//! key = "text:<placeholder>"      skip(a, self)          each(element in parameter)
//! ttl = duration | forever | |value| …
//! grace = duration | |value| …    idle = duration        previous = name
//! refresh_ahead = duration | auto                        patience = duration
//! cache_none = duration           cache_err = duration | |error| …
//! stale_if = |error| …            store_if = |value| …
//! when = expression               near = duration        single_flight = lease | local | off
//! at_most = constant expression
//! on_error = bypass | propagate   codec = bincode | postcard | json | text | bare_json | json_serde | path
//! version = 3                     name = "label"         entry = companion_name
//! cache = expression              group = expression | [expression, …]
//! crate = path
//! ```
//!
//! How a duration is written is in `duration`. Rules about several arguments are
//! in `freshness`, those that need the function's signature too in `plan`.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Expr, Ident, Lit, LitStr, Path, Token};

use crate::argument::{Argument, elsewhere};
use crate::duration::{self, Besides, Period};
use crate::errors::Errors;
use crate::nearest::{listed, quoted, unknown};
use crate::spec::{Codec, Each, Grace, Lasting, OnError, RefreshAhead, SingleFlight, Spec, Standard, Ttl};

/// The runtime's codecs by the names that a user writes.
const CODECS: &[(&str, Standard)] = &[
    ("bincode", Standard::Bincode),
    ("postcard", Standard::Postcard),
    ("json", Standard::Json),
    ("text", Standard::Text),
    ("bare_json", Standard::BareJson),
    ("json_serde", Standard::JsonSerde),
];

const SINGLE_FLIGHTS: &[(&str, SingleFlight)] =
    &[("lease", SingleFlight::Lease), ("local", SingleFlight::Local), ("off", SingleFlight::Off)];

const ON_ERRORS: &[(&str, OnError)] = &[("bypass", OnError::Bypass), ("propagate", OnError::Propagate)];

/// Reads all arguments; a mistake in one does not hide mistakes in the next.
pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Spec {
    let mut spec = Spec::default();
    let mut seen = Vec::new();
    each_argument(tokens, errors, |input, errors| argument(input, &mut spec, &mut seen, errors));
    spec
}

/// Reads what stands between commas, each by itself.
pub(crate) fn each_argument(
    tokens: TokenStream,
    errors: &mut Errors,
    mut read: impl FnMut(ParseStream, &mut Errors) -> syn::Result<()>,
) {
    let read_all = |input: ParseStream| {
        while !input.is_empty() {
            let argument = read(input, errors);
            let failed = errors.ok(argument.and_then(|()| end_of_argument(input))).is_none();
            if failed {
                skip_to_comma(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    if let Err(error) = read_all.parse2(tokens) {
        errors.push_error(error);
    }
}

/// Reads one argument into the spec.
fn argument(input: ParseStream, spec: &mut Spec, seen: &mut Vec<Argument>, errors: &mut Errors) -> syn::Result<()> {
    let name = input.call(Ident::parse_any).map_err(|error| {
        let message = format!("expected an argument: {}", listed(&Argument::names(), "or"));
        syn::Error::new(error.span(), message)
    })?;
    let text = name.to_string();
    let Some(argument) = Argument::called(&text) else {
        let message = elsewhere(&text).unwrap_or_else(|| unknown("argument", &text, &Argument::names()));
        return Err(syn::Error::new_spanned(&name, message));
    };
    once(argument, &name, seen, errors);
    if !matches!(argument, Argument::Skip | Argument::Each) {
        equals(input, &name, argument.example())?;
    }
    value(input, &name, argument, spec)
}

/// Notes an argument, and reports one that was there before.
pub(crate) fn once<T: PartialEq>(argument: T, name: &Ident, seen: &mut Vec<T>, errors: &mut Errors) {
    if seen.contains(&argument) {
        errors.push(name, format!("`{name}` is given twice; keep one"));
    }
    seen.push(argument);
}

/// Reads the `=` in front of a value.
pub(crate) fn equals(input: ParseStream, name: &Ident, example: &str) -> syn::Result<()> {
    let equals: Option<Token![=]> = input.parse()?;
    if equals.is_none() || input.is_empty() || input.peek(Token![,]) {
        let message = format!("`{name}` needs a value; write `{example}`");
        return Err(syn::Error::new_spanned(name, message));
    }
    Ok(())
}

/// Reads what stands behind an argument's name.
fn value(input: ParseStream, name: &Ident, argument: Argument, spec: &mut Spec) -> syn::Result<()> {
    match argument {
        Argument::Key => spec.key = Some(string(input, argument)?),
        Argument::Skip => spec.skip.extend(skip(input, name)?),
        Argument::Each => {
            spec.each = Some(None);
            spec.each = Some(Some(each(input, name)?));
        }
        Argument::Ttl => spec.freshness.ttl = Some(ttl(input, name)?),
        Argument::Grace => spec.freshness.grace = Some(grace(input, name)?),
        Argument::Idle => spec.freshness.idle = Some(period(input, name)?),
        Argument::Previous => spec.previous = Some(previous(input)?),
        Argument::RefreshAhead => spec.freshness.refresh_ahead = Some(refresh_ahead(input)?),
        Argument::Patience => spec.patience = Some(period(input, name)?),
        Argument::CacheNone => spec.cache_none = Some(period(input, name)?),
        Argument::CacheErr => spec.cache_err = Some(cache_err(input, name)?),
        Argument::StaleIf => spec.stale_if = Some(closure(input, name, "error", argument.example())?),
        Argument::StoreIf => spec.store_if = Some(closure(input, name, "value", argument.example())?),
        Argument::When => spec.when = Some(input.parse()?),
        Argument::Near => spec.freshness.near = Some(period(input, name)?),
        Argument::SingleFlight => spec.single_flight = Some(choice(input, name, SINGLE_FLIGHTS)?),
        Argument::AtMost => spec.at_most = Some(at_most(input)?),
        Argument::OnError => spec.on_error = Some(choice(input, name, ON_ERRORS)?),
        Argument::Codec => spec.codec = Some(codec(input)?),
        Argument::Version => spec.version = Some(version(input)?),
        Argument::Name => spec.name = Some(label(input)?),
        Argument::Entry => spec.entry = Some(entry(input)?),
        Argument::Cache => spec.cache = Some(input.parse()?),
        Argument::Group => spec.group = Some(group(input)?),
        Argument::Crate => spec.krate = Some(krate(input)?),
    }
    Ok(())
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

fn each(input: ParseStream, name: &Ident) -> syn::Result<Each> {
    let message = "`each` names one element and the parameter that holds them; write `each(id in ids)`";
    if !input.peek(syn::token::Paren) {
        return Err(syn::Error::new_spanned(name, message));
    }
    let inside;
    syn::parenthesized!(inside in input);
    let read = |input: ParseStream| {
        let element = input.parse()?;
        input.parse::<Token![in]>()?;
        let param = input.parse()?;
        if input.is_empty() { Ok(Each { element, param }) } else { Err(input.error(message)) }
    };
    read(&inside).map_err(|error: syn::Error| {
        // Else they are reported, too.
        let _ = inside.parse::<TokenStream>();
        syn::Error::new(error.span(), message)
    })
}

fn string(input: ParseStream, argument: Argument) -> syn::Result<LitStr> {
    match plain(input.parse()?) {
        Expr::Lit(syn::ExprLit { lit: Lit::Str(text), .. }) => Ok(text),
        expr => {
            let message = format!("`{argument}` takes a string; write `{}`", argument.example());
            Err(syn::Error::new_spanned(expr, message))
        }
    }
}

fn label(input: ParseStream) -> syn::Result<LitStr> {
    let text = string(input, Argument::Name)?;
    if text.value().is_empty() {
        return Err(syn::Error::new_spanned(text, "the name is empty; leave `name` out to use the function's path"));
    }
    Ok(text)
}

fn ttl(input: ParseStream, name: &Ident) -> syn::Result<Ttl> {
    let expr = plain(input.parse()?);
    match word(&expr) {
        Some(word) if word == "forever" => Ok(Ttl::Forever),
        _ if matches!(expr, Expr::Closure(_)) => over_value(expr, name, "value").map(Ttl::OfValue),
        _ => duration::read(expr, Argument::Ttl.name(), Besides::Forever).map(Ttl::For),
    }
}

fn grace(input: ParseStream, name: &Ident) -> syn::Result<Grace> {
    let expr = plain(input.parse()?);
    match expr {
        Expr::Closure(_) => over_value(expr, name, "value").map(Grace::OfValue),
        expr => duration::read(expr, Argument::Grace.name(), Besides::Nothing).map(Grace::For),
    }
}

fn cache_err(input: ParseStream, name: &Ident) -> syn::Result<Lasting> {
    let expr = plain(input.parse()?);
    match expr {
        Expr::Closure(_) => over_value(expr, name, "error").map(Lasting::OfError),
        expr => duration::read(expr, Argument::CacheErr.name(), Besides::Nothing).map(Lasting::For),
    }
}

pub(crate) fn period(input: ParseStream, name: &Ident) -> syn::Result<Period> {
    duration::read(plain(input.parse()?), &name.to_string(), Besides::Nothing)
}

fn refresh_ahead(input: ParseStream) -> syn::Result<RefreshAhead> {
    let expr = plain(input.parse()?);
    match word(&expr) {
        Some(word) if word == "auto" => Ok(RefreshAhead::Auto(word.clone())),
        _ => duration::read(expr, Argument::RefreshAhead.name(), Besides::Auto).map(RefreshAhead::Window),
    }
}

/// Reads a closure over this.
pub(crate) fn closure(input: ParseStream, name: &Ident, what: &str, example: &str) -> syn::Result<Expr> {
    match plain(input.parse()?) {
        Expr::Lit(literal) => {
            let message = format!("`{name}` takes a closure over the {what}; write `{example}`");
            Err(syn::Error::new_spanned(literal, message))
        }
        expr => over_value(expr, name, what),
    }
}

/// Checks that a closure has one parameter.
fn over_value(expr: Expr, name: &Ident, what: &str) -> syn::Result<Expr> {
    match expr {
        Expr::Closure(closure) if closure.inputs.len() != 1 => {
            let message =
                format!("`{name}` takes a closure with one parameter, a reference to the {what}; write `|{what}| …`");
            Err(syn::Error::new_spanned(closure, message))
        }
        expr => Ok(expr),
    }
}

/// Reads one of these words.
pub(crate) fn choice<T: Copy>(input: ParseStream, name: &Ident, choices: &[(&'static str, T)]) -> syn::Result<T> {
    let expr: Expr = plain(input.parse()?);
    let chosen = word(&expr).and_then(|word| choices.iter().find(|(name, _)| word == name));
    chosen.map(|(_, choice)| *choice).ok_or_else(|| {
        let message = format!("`{name}` is {}", listed(&names(choices), "or"));
        syn::Error::new_spanned(expr, message)
    })
}

fn names<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(name, _)| *name).collect()
}

fn codec(input: ParseStream) -> syn::Result<Codec> {
    let expr: Expr = plain(input.parse()?);
    let standard = word(&expr).and_then(|word| CODECS.iter().find(|(name, _)| word == name));
    match (standard, expr) {
        (Some((_, standard)), expr) => Ok(Codec::Standard(*standard, expr.span())),
        (None, Expr::Path(path)) => own_codec(path.path),
        (None, expr) => {
            let message =
                format!("`codec` is {}, or the path of a type that implements `Codec`", quoted(&names(CODECS)));
            Err(syn::Error::new_spanned(expr, message))
        }
    }
}

fn own_codec(path: Path) -> syn::Result<Codec> {
    // A type begins with a capital; a lowercase word is a misspelt codec.
    match path.get_ident().map(Ident::to_string) {
        Some(name) if name.starts_with(|c: char| c.is_ascii_lowercase()) => {
            Err(syn::Error::new_spanned(path, unknown("codec", &name, &names(CODECS))))
        }
        _ => Ok(Codec::Path(path)),
    }
}

fn version(input: ParseStream) -> syn::Result<u32> {
    let expr = plain(input.parse()?);
    let number = match &expr {
        Expr::Lit(syn::ExprLit { lit: Lit::Int(number), .. }) => number.base10_parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| syn::Error::new_spanned(expr, "`version` is a whole number from 0 to 4294967295"))
}

fn at_most(input: ParseStream) -> syn::Result<Expr> {
    let expr = plain(input.parse()?);
    let message = match &expr {
        Expr::Lit(syn::ExprLit { lit: Lit::Int(number), .. }) => match number.base10_parse::<usize>() {
            Ok(0) => "no body could run; `at_most` is a whole number from 1 on",
            Ok(_) => return Ok(expr),
            Err(_) => "`at_most` is a whole number from 1 on",
        },
        Expr::Lit(_) | Expr::Unary(_) | Expr::Closure(_) => "`at_most` is a whole number from 1 on, or a constant",
        _ => return Ok(expr),
    };
    Err(syn::Error::new_spanned(expr, message))
}

fn entry(input: ParseStream) -> syn::Result<Ident> {
    let expr = plain(input.parse()?);
    let message = "`entry` is the name of the companion; write `entry = user_entry`";
    name_of(&expr).ok_or_else(|| syn::Error::new_spanned(expr, message))
}

fn previous(input: ParseStream) -> syn::Result<Ident> {
    let expr = plain(input.parse()?);
    let message = "`previous` names the value that the body replaces; write `previous = old`";
    name_of(&expr).ok_or_else(|| syn::Error::new_spanned(expr, message))
}

/// Returns the name that an expression consists of.
fn name_of(expr: &Expr) -> Option<Ident> {
    match expr {
        // A keyword such as `self` is a path but not a name.
        Expr::Path(path) => syn::parse2(path.to_token_stream()).ok(),
        _ => None,
    }
}

fn group(input: ParseStream) -> syn::Result<Expr> {
    match plain(input.parse()?) {
        Expr::Lit(literal) => {
            let message = "`group` takes a group and not its key; write `group = team(team)`";
            Err(syn::Error::new_spanned(literal, message))
        }
        Expr::Array(array) if array.elems.is_empty() => {
            Err(syn::Error::new_spanned(array, "no group is listed; leave `group` out"))
        }
        expr => Ok(expr),
    }
}

/// Reads the path of memocached.
pub(crate) fn krate(input: ParseStream) -> syn::Result<Path> {
    let message = "`crate` takes the path of memocached; write `crate = my_prelude::memocached`";
    let path = input.call(Path::parse_mod_style).map_err(|error| syn::Error::new(error.span(), message))?;
    // A module is never inside a type.
    match path.segments.iter().find(|segment| segment.ident == "Self") {
        Some(segment) => Err(syn::Error::new_spanned(segment, message)),
        None => Ok(path),
    }
}

/// Returns the bare word that an expression consists of.
fn word(expr: &Expr) -> Option<&Ident> {
    match expr {
        Expr::Path(path) => path.path.get_ident(),
        _ => None,
    }
}

/// Removes the invisible group around a macro's fragment.
pub(crate) fn plain(expr: Expr) -> Expr {
    match expr {
        Expr::Group(group) => plain(*group.expr),
        expr => expr,
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
