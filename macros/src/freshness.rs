//! The rules for the arguments about time and absence, and where a refresh runs.
//!
//! Durations that are expressions are unknown here; the runtime judges them.

use quote::ToTokens;

use crate::duration::Period;
use crate::errors::Errors;
use crate::func::{self, Func, Param};
use crate::owned;
use crate::returns::{Kind, Returns};
use crate::spec::{Codec, Freshness, Grace, Lasting, RefreshAhead, Spec, Ttl};

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
        Some(Ttl::OfValue(_)) => check_window_of_value(OWN_TTL, &spec.freshness, errors),
        None => {}
    }
    if let Some(Grace::OfValue(_)) = &spec.freshness.grace {
        check_window_of_value(OWN_GRACE, &spec.freshness, errors);
    }
    if let Some(idle) = &spec.freshness.idle {
        check_idle(idle, &spec.freshness, errors);
    }
    if let (Some(stale_if), None) = (&spec.stale_if, &spec.freshness.grace) {
        errors.push(stale_if, "without `grace` no old value is kept that could be served; give a `grace`");
    }
    if let Some(codec) = spec.codec.as_ref().and_then(Codec::bare) {
        check_bare(spec, codec, errors);
    }
}

/// Reports a patience that no caller can have: the computation would end with the call.
pub(crate) fn check_patience(spec: &Spec, refresh: &Refresh, kind: Kind, errors: &mut Errors) {
    let Some(patience) = &spec.patience else { return };
    let message = match (&spec.freshness.grace, kind, refresh) {
        (None, ..) => "without `grace` no old value is kept that could be served instead; give a `grace`",
        (_, Kind::Blocking, _) => {
            "a caller that runs out of `patience` leaves the computation to the background, and a blocking one has \
             none; make the function `async`, or leave `patience` out"
        }
        (.., Refresh::InPlace) => {
            "a caller that runs out of `patience` leaves the computation to the background, so the function must own \
             what it takes and returns: no `self`, references, type parameters or calls of itself, and no closure over \
             the value that uses a parameter"
        }
        _ if spec.each.is_some() => "`patience` is for one value at a time; leave it out, or leave `each` out",
        _ => return,
    };
    errors.push(patience.written(), message);
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

const OWN_TTL: &str = "this window may be wider than the ttl that a value gives itself; write `refresh_ahead = auto`";
const OWN_GRACE: &str =
    "where this window begins depends on the grace that a value gives itself; write `refresh_ahead = auto`";

/// Reports a refresh window beside a time that only the value knows: where it begins
/// would be unknown, or every call would refresh.
fn check_window_of_value(message: &str, freshness: &Freshness, errors: &mut Errors) {
    if let Some(RefreshAhead::Window(window)) = &freshness.refresh_ahead {
        errors.push(window.written(), message);
    }
}

/// Reports an idle time that could not matter, or would be refreshed away.
fn check_idle(idle: &Period, freshness: &Freshness, errors: &mut Errors) {
    if let (Some(Ttl::For(ttl)), Some(time)) = (&freshness.ttl, idle.fixed())
        && ttl.fixed().is_some_and(|ttl| ttl <= time)
    {
        errors.push(idle.written(), "the ttl ends a value before this time is over; `idle` is shorter than `ttl`");
    }
    let message = "a value that is refreshed ahead of its end is never idle; leave `refresh_ahead` or `idle` out";
    match &freshness.refresh_ahead {
        Some(RefreshAhead::Window(window)) => errors.push(window.written(), message),
        Some(RefreshAhead::Auto(word)) => errors.push(word, message),
        None => {}
    }
}

/// Reports `previous` where there never is one, and a name that hides a parameter.
pub(crate) fn check_previous(spec: &Spec, func: &Func, errors: &mut Errors) {
    let Some(previous) = &spec.previous else { return };
    if spec.each.is_some() {
        errors.push(previous, "`previous` is for functions that compute one value; leave `each` or `previous` out");
    }
    let Freshness { grace, refresh_ahead, .. } = &spec.freshness;
    if grace.is_none() && refresh_ahead.is_none() && spec.group.is_none() {
        let message = "an old value is gone before it is replaced; give a `grace`, or `refresh_ahead`";
        errors.push(previous, message);
    }
    if func.params().any(|param| param.names.contains(previous)) {
        errors.push(previous, format!("a parameter is called `{previous}`; give the old value another name"));
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
    let Freshness { grace, idle, .. } = &spec.freshness;
    let grace = match grace {
        Some(Grace::OfValue(closure)) => Some(closure as &dyn ToTokens),
        Some(Grace::For(_)) | None => None,
    };
    for (name, written) in [("grace", grace), ("idle", idle.as_ref().map(Period::written))] {
        if let Some(written) = written {
            let message = format!(
                "`codec = {codec}` stores the bytes of a value and nothing else, and values without an envelope do \
                 not tell their time; take another codec, or leave `{name}` out"
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

/// Decides where a refresh runs: in the background only if nothing borrows from the caller,
/// and the body does not name its function, whose future the compiler then refuses to move.
pub(crate) fn refresh(spec: &Spec, func: &Func, params: &[Param], returns: &Returns) -> Refresh {
    let is_refreshed = spec.freshness.grace.is_some() || spec.freshness.refresh_ahead.is_some();
    let mut closures = spec.store_if.to_token_stream();
    spec.stale_if.to_tokens(&mut closures);
    if let Some(Ttl::OfValue(ttl)) = &spec.freshness.ttl {
        ttl.to_tokens(&mut closures);
    }
    if let Some(Grace::OfValue(grace)) = &spec.freshness.grace {
        grace.to_tokens(&mut closures);
    }
    let is_veto_free = !params.iter().flat_map(|param| &param.names).any(|name| func::mentions(closures.clone(), name));
    let is_recursive = returns.kind == Kind::Async && func.body_names(&func.sig.ident);
    if is_refreshed && returns.is_free && !is_recursive && is_veto_free && owned::owns_its_data(func, &returns.output) {
        Refresh::Background
    } else {
        Refresh::InPlace
    }
}
