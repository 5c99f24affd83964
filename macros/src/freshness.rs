//! The rules for the arguments about time and absence, and where a refresh runs.
//!
//! Durations that are expressions are unknown here; the runtime judges them.

use quote::ToTokens;

use crate::duration::Period;
use crate::errors::Errors;
use crate::func::{self, Func, Param};
use crate::owned;
use crate::returns::{Kind, Returns};
use crate::spec::{Codec, Freshness, Lasting, RefreshAhead, Spec, Ttl};

/// Where the body runs while other callers get an older value.
pub(crate) enum Refresh {
    /// In the call that refreshes.
    InPlace,
    /// In a task of its own, which may outlive the call.
    Background,
}

/// Reports arguments that contradict each other.
pub(crate) fn check(spec: &Spec, errors: &mut Errors) {
    match &spec.freshness.ttl {
        Some(Ttl::Forever) => check_without_an_end(&spec.freshness, errors),
        Some(Ttl::For(ttl)) => check_window(ttl, &spec.freshness, errors),
        Some(Ttl::OfValue(_)) => check_window_of_value(&spec.freshness, errors),
        None => {}
    }
    if let (Some(stale_if), None) = (&spec.stale_if, &spec.freshness.grace) {
        errors.push(stale_if, "without `grace` no old value is kept that could be served; give a `grace`");
    }
    if let Some(codec) = spec.codec.as_ref().and_then(Codec::bare) {
        check_bare(spec, codec, errors);
    }
}

/// Reports `grace` and `refresh_ahead` on values that never get old.
fn check_without_an_end(freshness: &Freshness, errors: &mut Errors) {
    let message = |name| format!("a value that is kept forever never gets old; leave `{name}` out, or give a `ttl`");
    if let Some(grace) = &freshness.grace {
        errors.push(grace.written(), message("grace"));
    }
    match &freshness.refresh_ahead {
        Some(RefreshAhead::Window(window)) => errors.push(window.written(), message("refresh_ahead")),
        Some(RefreshAhead::Auto(word)) => errors.push(word, message("refresh_ahead")),
        None => {}
    }
}

/// Reports a refresh window that covers the whole ttl.
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

/// Reports a refresh window beside a ttl that may be shorter: every call would refresh.
fn check_window_of_value(freshness: &Freshness, errors: &mut Errors) {
    if let Some(RefreshAhead::Window(window)) = &freshness.refresh_ahead {
        let message = "this window may be wider than the ttl that a value gives itself; write `refresh_ahead = auto`";
        errors.push(window.written(), message);
    }
}

/// Reports what bare bytes cannot store: they have no envelope that says `None` or
/// `Err`, or in which groups a value is.
fn check_bare(spec: &Spec, codec: &str, errors: &mut Errors) {
    let none = spec.cache_none.as_ref().map(Period::written);
    let err = spec.cache_err.as_ref().map(Lasting::written);
    for (name, what, written) in [("cache_none", "`None`", none), ("cache_err", "`Err`", err)] {
        if let Some(written) = written {
            let message = format!(
                "`codec = {codec}` stores the bytes of a value and nothing else, so it cannot store {what}; \
                 take another codec, or leave `{name}` out"
            );
            errors.push(written, message);
        }
    }
    if let Some(group) = &spec.group {
        let message = format!(
            "`codec = {codec}` stores the bytes of a value and nothing else, and values without an envelope have no \
             room for the stamps of a group; take another codec, or leave `group` out"
        );
        errors.push(group, message);
    }
}

/// Decides where a refresh runs: in the background only if neither the body nor a
/// closure over what it returns borrows from the caller.
///
/// Nor may an `async fn` name itself: whether its future can go to another task
/// is then a question about that very future, which the compiler refuses.
pub(crate) fn refresh(spec: &Spec, func: &Func, params: &[Param], returns: &Returns) -> Refresh {
    let is_refreshed = spec.freshness.grace.is_some() || spec.freshness.refresh_ahead.is_some();
    let mut terms = spec.store_if.to_token_stream();
    spec.stale_if.to_tokens(&mut terms);
    if let Some(Ttl::OfValue(ttl)) = &spec.freshness.ttl {
        ttl.to_tokens(&mut terms);
    }
    let is_veto_free = !params.iter().flat_map(|param| &param.names).any(|name| func::mentions(terms.clone(), name));
    let is_recursive = returns.kind == Kind::Async && func.body_names(&func.sig.ident);
    if is_refreshed && returns.is_free && !is_recursive && is_veto_free && owned::owns_its_data(func, &returns.output) {
        Refresh::Background
    } else {
        Refresh::InPlace
    }
}
