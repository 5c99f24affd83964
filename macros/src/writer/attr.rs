//! Reads the arguments of `#[invalidates]` and `#[updates]`: tokens → [`WriterSpec`].
//!
//! Expressions stand by themselves, named arguments behind a name and `=`:
//!
//! ```text
//! user_entry(id), team(team)
//! after = |value| …               hold_off = duration    mark = on | off
//! on_error = bypass | refuse      crate = path
//! ```

use proc_macro2::{Span, TokenStream};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Expr, Ident, Path, Token};

use super::Change;
use crate::argument::WriterArgument;
use crate::attr::{choice, closure, each_argument, equals, krate, once, period, plain};
use crate::duration::Period;
use crate::errors::Errors;
use crate::nearest::unknown;

/// The arguments as the user wrote them.
pub(super) struct WriterSpec {
    pub(super) change: Change,
    /// The entries and groups, as far as they could be read.
    pub(super) targets: Vec<Expr>,
    /// Whether something is named that changes, even if it could not be read.
    pub(super) has_target: bool,
    pub(super) after: Option<Expr>,
    pub(super) hold_off: Option<Period>,
    pub(super) mark: Option<Mark>,
    /// With where it is written.
    pub(super) on_error: Option<(WriterOnError, Span)>,
    pub(super) krate: Option<Path>,
}

/// Whether a mark stays where an entry was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// One does, for as long as older values may still be on their way.
    On,
    /// The entry is gone.
    Off,
}

/// What happens if the cache fails before the body runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum WriterOnError {
    /// The body runs.
    Bypass,
    /// The error is returned.
    Refuse,
}

const MARKS: &[(&str, Mark)] = &[("on", Mark::On), ("off", Mark::Off)];

const ON_ERRORS: &[(&str, WriterOnError)] = &[("bypass", WriterOnError::Bypass), ("refuse", WriterOnError::Refuse)];

/// Reads all arguments; a mistake in one does not hide mistakes in the next.
pub(super) fn parse(change: Change, tokens: TokenStream, errors: &mut Errors) -> WriterSpec {
    let mut spec = WriterSpec {
        change,
        targets: Vec::new(),
        has_target: false,
        after: None,
        hold_off: None,
        mark: None,
        on_error: None,
        krate: None,
    };
    let mut seen = Vec::new();
    each_argument(tokens, errors, |input, errors| {
        if is_named(input) {
            return named(input, &mut spec, &mut seen, errors);
        }
        spec.has_target = true;
        spec.targets.push(target(input)?);
        Ok(())
    });
    spec
}

/// Says whether a name and `=` come next, or an argument's name and nothing else.
fn is_named(input: ParseStream) -> bool {
    let rest = input.fork();
    let Ok(name) = rest.call(Ident::parse_any) else { return false };
    let is_alone = rest.is_empty() || rest.peek(Token![,]);
    let is_given = rest.peek(Token![=]) && !rest.peek(Token![==]);
    is_given || is_alone && WriterArgument::called(&name.to_string()).is_some()
}

/// Reads an entry or a group.
fn target(input: ParseStream) -> syn::Result<Expr> {
    match plain(input.parse()?) {
        Expr::Lit(literal) => {
            let message = "a literal is neither an entry nor a group; write `user_entry(id)`";
            Err(syn::Error::new_spanned(literal, message))
        }
        expr => Ok(expr),
    }
}

/// Reads one named argument into the spec.
fn named(
    input: ParseStream,
    spec: &mut WriterSpec,
    seen: &mut Vec<WriterArgument>,
    errors: &mut Errors,
) -> syn::Result<()> {
    let name = input.call(Ident::parse_any)?;
    let text = name.to_string();
    let Some(argument) = WriterArgument::called(&text) else {
        let known = match spec.change {
            Change::Invalidate => WriterArgument::names(),
            Change::Update => WriterArgument::OF_UPDATES.to_vec(),
        };
        let message = unnamed(&text).unwrap_or_else(|| unknown("argument", &text, &known));
        return Err(syn::Error::new_spanned(&name, message));
    };
    once(argument, &name, seen, errors);
    if let Some(why) = refused(argument).filter(|_| spec.change == Change::Update) {
        errors.push(&name, why);
    }
    spec.has_target |= argument == WriterArgument::After;
    equals(input, &name, argument.example())?;
    match argument {
        WriterArgument::After => spec.after = Some(closure(input, &name, "value", argument.example())?),
        WriterArgument::HoldOff => spec.hold_off = Some(period(input, &name)?),
        WriterArgument::Mark => spec.mark = Some(choice(input, &name, MARKS)?),
        WriterArgument::OnError => {
            let at = input.span();
            spec.on_error = Some((choice(input, &name, ON_ERRORS)?, at));
        }
        WriterArgument::Crate => spec.krate = Some(krate(input)?),
    }
    Ok(())
}

/// Says what to write in place of a name for what changes.
fn unnamed(name: &str) -> Option<String> {
    let example = match name {
        "entry" | "entries" | "key" | "keys" => "user_entry(id)",
        "group" | "groups" | "tag" | "tags" => "team(team)",
        _ => return None,
    };
    Some(format!("what changes stands by itself, without `{name} =`; write `{example}`"))
}

/// Says why `#[updates]` does not take an argument.
fn refused(argument: WriterArgument) -> Option<String> {
    match argument {
        WriterArgument::After | WriterArgument::HoldOff => Some(format!(
            "`updates` replaces one entry; for `{argument}`, put `#[memocached::invalidates(…)]` beside it"
        )),
        WriterArgument::Mark => Some("an update is always marked; leave `mark` out".into()),
        WriterArgument::OnError | WriterArgument::Crate => None,
    }
}
