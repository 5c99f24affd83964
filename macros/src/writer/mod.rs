//! `#[invalidates]` and `#[updates]`, which go on functions that change data: what
//! is cached of it goes, or is replaced, around the body.
//!
//! As for `#[memcached]`, tokens become a spec, a plan and an expansion.

use proc_macro2::TokenStream;

use crate::errors::Errors;
use crate::func::{Attr, Func};

mod attr;
mod expand;
mod plan;

/// Which of the two attributes is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `#[invalidates]`.
    Invalidate,
    /// `#[updates]`.
    Update,
}

/// Expands the attribute, or returns all mistakes.
pub(crate) fn compile(change: Change, arguments: TokenStream, item: TokenStream) -> Result<TokenStream, Errors> {
    let mut errors = Errors::default();
    let spec = attr::parse(change, arguments, &mut errors);
    let func = errors.ok(Func::read(item, change.attr()));
    let plan = func.as_ref().map(|func| plan::plan(spec, func, &mut errors));
    let expansion = match (&plan, &func) {
        (Some(plan), Some(func)) => expand::expand(plan, func),
        _ => TokenStream::new(),
    };
    errors.finish(expansion)
}

impl Change {
    fn attr(self) -> &'static Attr {
        match self {
            Change::Invalidate => &Attr::INVALIDATES,
            Change::Update => &Attr::UPDATES,
        }
    }
}
