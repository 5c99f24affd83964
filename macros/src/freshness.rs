//! What the arguments about time and absence mean together, and where a value
//! is refreshed.
//!
//! Only what can be known here: durations that are expressions are judged at
//! run time.

use quote::ToTokens;
use syn::{Expr, Ident};

use crate::attr::{Codec, Spec};
use crate::duration::Period;
use crate::errors::Errors;
use crate::func::{self, Func, Param};
use crate::owned;
use crate::returns::Returns;

/// How long a value is used, and in which state.
#[derive(Default)]
pub(crate) struct Freshness {
    pub(crate) ttl: Option<Ttl>,
    /// How long it may be served behind its ttl.
    pub(crate) grace: Option<Period>,
    pub(crate) refresh_ahead: Option<RefreshAhead>,
    /// How long it is kept in this process as well.
    pub(crate) near: Option<Period>,
}

/// How long a value is fresh.
pub(crate) enum Ttl {
    For(Period),
    Forever,
}

/// When a value is refreshed before its ttl is over.
pub(crate) enum RefreshAhead {
    /// In the last of its time.
    Window(Period),
    /// By what computing it costs; with the word that says so.
    Auto(Ident),
}

impl Freshness {
    /// What is evaluated for it at each call.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let ttl = match &self.ttl {
            Some(Ttl::For(ttl)) => Some(ttl),
            _ => None,
        };
        let window = match &self.refresh_ahead {
            Some(RefreshAhead::Window(window)) => Some(window),
            _ => None,
        };
        let periods = [ttl, window, self.grace.as_ref(), self.near.as_ref()];
        periods.into_iter().flatten().filter_map(Period::expr)
    }
}

/// Where the body runs while others are served an older value.
pub(crate) enum Refresh {
    /// Where it was called.
    InPlace,
    /// Perhaps beyond its call, and to its end.
    Background,
}

pub(crate) fn check(spec: &Spec, errors: &mut Errors) {
    match &spec.freshness.ttl {
        Some(Ttl::Forever) => check_without_an_end(&spec.freshness, errors),
        Some(Ttl::For(ttl)) => check_window(ttl, &spec.freshness, errors),
        None => {}
    }
    if spec.codec.as_ref().is_some_and(is_text) {
        check_bare(spec, errors);
    }
}

/// What lasts for ever is never past its time, nor near its end.
fn check_without_an_end(freshness: &Freshness, errors: &mut Errors) {
    let message = |name| format!("a value that is kept for ever never gets old; leave `{name}` out, or give a `ttl`");
    if let Some(grace) = &freshness.grace {
        errors.push(grace.written(), message("grace"));
    }
    match &freshness.refresh_ahead {
        Some(RefreshAhead::Window(window)) => errors.push(window.written(), message("refresh_ahead")),
        Some(RefreshAhead::Auto(word)) => errors.push(word, message("refresh_ahead")),
        None => {}
    }
}

fn check_window(ttl: &Period, freshness: &Freshness, errors: &mut Errors) {
    let Some(RefreshAhead::Window(window)) = &freshness.refresh_ahead else { return };
    if let (Some(ttl), Some(width)) = (ttl.fixed(), window.fixed())
        && width >= ttl
    {
        let message = "this window is not narrower than the ttl, so every call would refresh; \
                       `refresh_ahead` is the last part of the ttl";
        errors.push(window.written(), message);
    }
}

fn is_text(codec: &Codec) -> bool {
    matches!(codec, Codec::Named(name) if name == "Text")
}

/// Without an envelope there is nowhere to say that a value is none.
fn check_bare(spec: &Spec, errors: &mut Errors) {
    for (name, what, period) in [("cache_none", "`None`", &spec.cache_none), ("cache_err", "`Err`", &spec.cache_err)] {
        if let Some(period) = period {
            let message = format!(
                "`codec = text` stores the bytes of a value and nothing else, so it cannot store {what}; \
                 take another codec, or leave `{name}` out"
            );
            errors.push(period.written(), message);
        }
    }
}

/// In the background, only what the caller does not wait for and cannot take
/// away: the body, and the veto that is asked behind it.
pub(crate) fn refresh(spec: &Spec, func: &Func, params: &[Param], returns: &Returns) -> Refresh {
    let is_refreshed = spec.freshness.grace.is_some() || spec.freshness.refresh_ahead.is_some();
    let store_if = spec.store_if.to_token_stream();
    let is_veto_free = !params.iter().flat_map(|param| &param.names).any(|name| func::mentions(store_if.clone(), name));
    if is_refreshed && returns.is_free && is_veto_free && owned::owns_its_data(func, &returns.output) {
        Refresh::Background
    } else {
        Refresh::InPlace
    }
}
