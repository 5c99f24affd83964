//! What the attribute's arguments can say: [`Spec`] and the types of its parts.
//!
//! `attr` reads them; what they mean together is judged in `freshness` and
//! `plan`.

use proc_macro2::Span;
use quote::ToTokens;
use syn::{Expr, Ident, LitStr, Path};

use crate::duration::Period;

/// The arguments as the user wrote them, with their spans.
#[derive(Default)]
pub(crate) struct Spec {
    pub(crate) key: Option<LitStr>,
    pub(crate) skip: Vec<Ident>,
    /// Holds nothing if it could not be read.
    pub(crate) each: Option<Option<Each>>,
    pub(crate) freshness: Freshness,
    /// How long a caller that could get an old value waits for the new one.
    pub(crate) patience: Option<Period>,
    pub(crate) cache_none: Option<Period>,
    pub(crate) cache_err: Option<Lasting>,
    pub(crate) stale_if: Option<Expr>,
    pub(crate) store_if: Option<Expr>,
    /// What the body calls the value that it replaces.
    pub(crate) previous: Option<Ident>,
    pub(crate) when: Option<Expr>,
    pub(crate) single_flight: Option<SingleFlight>,
    /// How many bodies run at once.
    pub(crate) at_most: Option<Expr>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) codec: Option<Codec>,
    pub(crate) version: Option<u32>,
    pub(crate) name: Option<LitStr>,
    pub(crate) entry: Option<Ident>,
    pub(crate) cache: Option<Expr>,
    /// One group, or an array of them.
    pub(crate) group: Option<Expr>,
    pub(crate) krate: Option<Path>,
}

/// What a function that computes several values at once calls one element, and the
/// parameter that holds them.
#[derive(Clone)]
pub(crate) struct Each {
    pub(crate) element: Ident,
    pub(crate) param: Ident,
}

/// How long a value is used, and in which state.
#[derive(Default)]
pub(crate) struct Freshness {
    pub(crate) ttl: Option<Ttl>,
    /// How long after its ttl a value may be served.
    pub(crate) grace: Option<Grace>,
    /// How long a value is kept while no call asks for it.
    pub(crate) idle: Option<Period>,
    pub(crate) refresh_ahead: Option<RefreshAhead>,
    /// How long this process keeps a copy.
    pub(crate) near: Option<Period>,
}

/// How long a value is fresh.
pub(crate) enum Ttl {
    /// For a limited time.
    For(Period),
    /// For as long as a closure over the value says.
    OfValue(Expr),
    /// Without an end.
    Forever,
}

/// How long after its ttl a value may be served.
pub(crate) enum Grace {
    For(Period),
    /// For as long as a closure over the value says.
    OfValue(Expr),
}

impl Grace {
    /// Returns the tokens that an error points at.
    pub(crate) fn written(&self) -> &dyn ToTokens {
        match self {
            Grace::For(period) => period.written(),
            Grace::OfValue(closure) => closure,
        }
    }
}

/// How long an error is kept.
pub(crate) enum Lasting {
    /// All of them for this long.
    For(Period),
    /// For as long as a closure over the error says.
    OfError(Expr),
}

impl Lasting {
    /// Returns the tokens that an error points at.
    pub(crate) fn written(&self) -> &dyn ToTokens {
        match self {
            Lasting::For(period) => period.written(),
            Lasting::OfError(closure) => closure,
        }
    }
}

/// When a value is refreshed before its ttl is over.
pub(crate) enum RefreshAhead {
    /// In the last part of the ttl.
    Window(Period),
    /// The earlier, the longer the function takes; with the word `auto`.
    Auto(Ident),
}

/// Which callers wait while one of them computes.
#[derive(Clone, Copy)]
pub(crate) enum SingleFlight {
    /// All that share the servers.
    Lease,
    /// Those in the same process.
    Local,
    /// None: every caller computes.
    Off,
}

/// What a call does when the cache fails.
#[derive(Clone, Copy)]
pub(crate) enum OnError {
    /// Computes.
    Bypass,
    /// Returns the error.
    Propagate,
}

/// How values become bytes.
pub(crate) enum Codec {
    /// A codec of the runtime's, with the span of its name.
    Standard(Standard, Span),
    /// The user's own.
    Path(Path),
}

/// A codec that the runtime brings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standard {
    Bincode,
    Postcard,
    Json,
    Text,
    BareJson,
    JsonSerde,
}

/// Returns where memocached is, unless an argument says otherwise.
pub(crate) fn krate(given: Option<Path>) -> Path {
    given.unwrap_or_else(|| syn::parse_quote!(::memocached))
}

impl Spec {
    /// Returns the groups that a value is in.
    pub(crate) fn groups(&self) -> impl Iterator<Item = &Expr> {
        let (one, several) = match &self.group {
            Some(Expr::Array(array)) => (None, Some(&array.elems)),
            group => (group.as_ref(), None),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }

    /// Returns the expressions that address an entry besides its key.
    pub(crate) fn address(&self) -> impl Iterator<Item = &Expr> {
        self.freshness.exprs().chain(&self.cache).chain(self.groups())
    }
}

impl Freshness {
    /// Returns the expressions that are evaluated on each call.
    pub(crate) fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let ttl = match &self.ttl {
            Some(Ttl::For(ttl)) => Some(ttl),
            Some(Ttl::OfValue(_) | Ttl::Forever) | None => None,
        };
        let window = match &self.refresh_ahead {
            Some(RefreshAhead::Window(window)) => Some(window),
            Some(RefreshAhead::Auto(_)) | None => None,
        };
        let grace = match &self.grace {
            Some(Grace::For(grace)) => Some(grace),
            Some(Grace::OfValue(_)) | None => None,
        };
        let periods = [ttl, window, grace, self.idle.as_ref(), self.near.as_ref()];
        periods.into_iter().flatten().filter_map(Period::expr)
    }
}

impl Codec {
    /// Returns the codec's name, if the bytes that it stores are the value and nothing else.
    pub(crate) fn bare(&self) -> Option<&'static str> {
        match self {
            Codec::Standard(Standard::Text, _) => Some("text"),
            Codec::Standard(Standard::BareJson, _) => Some("bare_json"),
            Codec::Standard(Standard::JsonSerde, _) => Some("json_serde"),
            Codec::Standard(Standard::Bincode | Standard::Postcard | Standard::Json, _) | Codec::Path(_) => None,
        }
    }
}
