//! Spans whose names are known only at run time.
//!
//! `tracing`'s macros need a literal name, but a site's span is named after the
//! function and a client span after verb and server. Each such name has a
//! callsite of its own, which is created once and never freed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::callsite::{Callsite, Identifier};
use tracing::field::{FieldSet, Value, ValueSet};
use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::metadata::Kind;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Span};

use crate::exchange::Verb;

/// Declares the fields of a kind of span: a list of their names, and a struct with
/// their values in the same order.
macro_rules! fields {
    ($(#[$doc:meta])* struct $fields:ident { $($field:ident => $name:expr,)* }) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $fields<'a> {
            $(pub(super) $field: Option<&'a dyn Value>,)*
        }

        impl<'a> $fields<'a> {
            pub(super) const NAMES: &'static [&'static str] = &[$($name),*];

            pub(super) fn values(&self) -> [Option<&'a dyn Value>; [$($name),*].len()] {
                [$(self.$field),*]
            }
        }
    };
}
pub(super) use fields;

/// A kind of span: everything except the values of its fields.
#[derive(Debug)]
pub(crate) struct NamedSpan {
    metadata: OnceLock<Metadata<'static>>,
    /// The subscribers' interest: 0 never, 1 sometimes, 2 always.
    interest: AtomicU8,
}

/// The parts of a [`NamedSpan`].
pub(crate) struct Naming {
    pub(crate) name: &'static str,
    pub(crate) target: &'static str,
    /// File and line.
    pub(crate) location: Option<(&'static str, u32)>,
    pub(crate) fields: &'static [&'static str],
}

impl NamedSpan {
    /// Creates a kind of span at level INFO. It is never freed.
    pub(crate) fn leak(naming: Naming) -> &'static Self {
        let span: &'static Self =
            Box::leak(Box::new(NamedSpan { metadata: OnceLock::new(), interest: AtomicU8::new(1) }));
        let Naming { name, target, location, fields } = naming;
        let (file, line) = location.unzip();
        let fields = FieldSet::new(fields, Identifier(span));
        span.metadata.get_or_init(|| Metadata::new(name, target, Level::INFO, file, line, None, fields, Kind::SPAN));
        tracing::callsite::register(span);
        span
    }

    /// Opens a span with one value for each field, or a disabled span if no
    /// subscriber wants it.
    pub(crate) fn open(&'static self, values: &[Option<&dyn Value>]) -> Span {
        self.open_as(Span::new, values)
    }

    /// Opens a span without a parent.
    pub(crate) fn open_root(&'static self, values: &[Option<&dyn Value>]) -> Span {
        self.open_as(Span::new_root, values)
    }

    /// Records one value for each field in a span of this kind.
    pub(crate) fn record(&'static self, span: &Span, values: &[Option<&dyn Value>]) {
        if let Some(metadata) = self.metadata.get() {
            span.record_all(&metadata.fields().value_set_all(values));
        }
    }

    fn open_as(
        &'static self,
        open: fn(&'static Metadata<'static>, &ValueSet<'_>) -> Span,
        values: &[Option<&dyn Value>],
    ) -> Span {
        match self.metadata.get() {
            Some(metadata) if self.is_enabled(metadata) => open(metadata, &metadata.fields().value_set_all(values)),
            _ => Span::none(),
        }
    }

    fn is_enabled(&self, metadata: &Metadata<'static>) -> bool {
        STATIC_MAX_LEVEL >= Level::INFO
            && LevelFilter::current() >= Level::INFO
            && match self.interest.load(Ordering::Relaxed) {
                0 => false,
                1 => tracing::dispatcher::get_default(|current| current.enabled(metadata)),
                _ => true,
            }
    }
}

/// The kinds of spans of one node by verb, each created on first use.
#[derive(Debug)]
pub(crate) struct NamedSpans([OnceLock<&'static NamedSpan>; Verb::ALL.len()]);

impl NamedSpans {
    pub(crate) const fn none() -> Self {
        NamedSpans([const { OnceLock::new() }; Verb::ALL.len()])
    }

    pub(crate) fn get(&self, verb: Verb, naming: impl FnOnce() -> Naming) -> &'static NamedSpan {
        self.0[verb as usize].get_or_init(|| NamedSpan::leak(naming()))
    }
}

impl Callsite for NamedSpan {
    fn set_interest(&self, interest: Interest) {
        let interest = if interest.is_always() { 2 } else { u8::from(interest.is_sometimes()) };
        self.interest.store(interest, Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("set before the callsite is registered")
    }
}
