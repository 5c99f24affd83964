//! Decides what the expansion of `#[invalidates]` or `#[updates]` does: [`WriterSpec`] and
//! [`Func`] → [`WriterPlan`].

use proc_macro2::Span;
use syn::{Expr, Path, Type};

use super::Change;
use super::attr::{Mark, WriterOnError, WriterSpec};
use crate::duration::Period;
use crate::errors::Errors;
use crate::func::Func;
use crate::generics;
use crate::plan::check_const;
use crate::returns::{self, Returns};
use crate::spec;

/// What the expansion does. It is right if there is no mistake in the errors.
pub(super) struct WriterPlan {
    pub(super) change: Change,
    /// The entries and groups, of which an update has one.
    pub(super) targets: Vec<Expr>,
    pub(super) after: Option<Expr>,
    pub(super) hold_off: Option<Period>,
    pub(super) is_marked: bool,
    pub(super) is_refusing: bool,
    pub(super) krate: Path,
    pub(super) returns: Returns,
}

/// Applies every rule.
pub(super) fn plan(spec: WriterSpec, func: &Func, errors: &mut Errors) -> WriterPlan {
    check_const(&func.sig, errors);
    let returns = returns::read(func);
    if let Some(why) = unnameable(&returns.output) {
        errors.push(&returns.output, why);
    }
    check_targets(&spec, errors);
    check_value(&spec, func, &returns, errors);
    check_mark(&spec, errors);
    WriterPlan {
        change: spec.change,
        targets: spec.targets,
        after: spec.after,
        hold_off: spec.hold_off,
        is_marked: spec.mark != Some(Mark::Off),
        is_refusing: matches!(spec.on_error, Some((WriterOnError::Refuse, _))),
        krate: spec::krate(spec.krate),
        returns,
    }
}

/// Says why a return type cannot be looked into.
fn unnameable(output: &Type) -> Option<&'static str> {
    match output {
        Type::Never(_) => Some("a function that never returns is never done with a change; remove the attribute"),
        output if generics::says(output, "impl") => Some(
            "whether the function fails is up to the type that it returns, which must be named; \
             write the type instead of `impl Trait`",
        ),
        _ => None,
    }
}

/// Reports that nothing changes, or too much.
fn check_targets(spec: &WriterSpec, errors: &mut Errors) {
    match spec.change {
        Change::Invalidate if !spec.has_target => {
            errors.push_error(syn::Error::new(Span::call_site(), "name what is invalidated; write `user_entry(id)`"));
        }
        Change::Update if !spec.has_target => {
            errors.push_error(syn::Error::new(Span::call_site(), "name what is updated; write `user_entry(id)`"));
        }
        Change::Update => {
            for further in spec.targets.iter().skip(1) {
                let message = "`updates` replaces one entry; for another, put the attribute beside this one again";
                errors.push(further, message);
            }
        }
        Change::Invalidate => {}
    }
}

/// Reports what needs a mark, where there is none.
fn check_mark(spec: &WriterSpec, errors: &mut Errors) {
    // An update's mark is not for the user to choose.
    if spec.mark != Some(Mark::Off) || spec.change == Change::Update {
        return;
    }
    if let Some(hold_off) = &spec.hold_off {
        let message = "without a mark nothing stays that could be held off; leave `hold_off` or `mark = off` out";
        errors.push(hold_off.written(), message);
    }
    if let Some((WriterOnError::Refuse, at)) = spec.on_error {
        let message = "without a mark nothing can fail before the body; leave `on_error = refuse` or `mark = off` out";
        errors.push_error(syn::Error::new(at, message));
    }
}

/// Reports what needs a value, on a function that returns none.
fn check_value(spec: &WriterSpec, func: &Func, returns: &Returns, errors: &mut Errors) {
    if !returns::is_nothing(&returns.output) {
        return;
    }
    let name = &func.sig.ident;
    match spec.change {
        Change::Invalidate => {
            if let Some(after) = &spec.after {
                let message = format!(
                    "`{name}` returns nothing that `after` could look at; name what is invalidated by itself, \
                     as in `user_entry(id)`"
                );
                errors.push(after, message);
            }
        }
        Change::Update => {
            if let Some(entry) = spec.targets.first() {
                let message = format!(
                    "`{name}` returns nothing that the entry could be updated with; return the value, or write \
                     `#[memocached::invalidates(…)]`"
                );
                errors.push(entry, message);
            }
        }
    }
}
