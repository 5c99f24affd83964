//! The verbs of a client that ask servers something, and what is right for
//! them to say where both keys hold 7.

use std::time::Duration;

use memocached::{CasOutcome, Error, Failures, Many};

use super::client::{AnyClient, MINUTE, only};

/// What a verb is asked about.
pub(crate) struct About<'a> {
    pub(crate) keys: [&'a str; 2],
    /// The number of the first key's item.
    pub(crate) cas: u64,
}

/// A verb, its question, and the right answer.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    pub(crate) effect: Effect,
    pub(crate) ask: fn(&AnyClient, &About<'_>) -> Result<String, Error>,
    pub(crate) right: &'static str,
}

/// Whether a verb may be asked twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It only reads.
    None,
    /// It changes something.
    Some,
}

const fn reads(
    name: &'static str,
    right: &'static str,
    ask: fn(&AnyClient, &About<'_>) -> Result<String, Error>,
) -> Verb {
    Verb { name, effect: Effect::None, ask, right }
}

const fn writes(
    name: &'static str,
    right: &'static str,
    ask: fn(&AnyClient, &About<'_>) -> Result<String, Error>,
) -> Verb {
    Verb { name, effect: Effect::Some, ask, right }
}

pub(crate) const VERBS: [Verb; 23] = [
    reads("get", "Some(7)", |client, about| text(client.get::<u64>(about.keys[0]))),
    reads("gets", "Some(7)", |client, about| {
        text(client.gets::<u64>(about.keys[0]).map(|found| found.map(|found| found.value)))
    }),
    reads("get_many", "[7, 7]", |client, about| {
        let Many { values, failed, .. } = client.get_many::<u64>(&names(about));
        many(values, failed)
    }),
    reads("gets_many", "[7, 7]", |client, about| {
        let Many { values, failed, .. } = client.gets_many::<u64>(&names(about));
        many(values.into_iter().map(|(key, found)| (key, found.value)), failed)
    }),
    reads("stats", "true", |client, _| text(only(client.stats()).map(|counters| counters.contains_key("curr_items")))),
    reads("version", "true", |client, _| text(only(client.version()).map(|version| version.starts_with("1.")))),
    // These prolong what they read.
    writes("gat", "Some(7)", |client, about| text(client.gat::<u64>(about.keys[0], MINUTE))),
    writes("gats", "Some(7)", |client, about| {
        text(client.gats::<u64>(about.keys[0], MINUTE).map(|found| found.map(|found| found.value)))
    }),
    writes("touch", "true", |client, about| text(client.touch(about.keys[0], MINUTE))),
    writes("set", "()", |client, about| text(client.set(about.keys[0], &8, MINUTE))),
    writes("add", "false", |client, about| text(client.add(about.keys[0], &8, MINUTE))),
    writes("replace", "true", |client, about| text(client.replace(about.keys[0], &8, MINUTE))),
    writes("append", "true", |client, about| text(client.append(about.keys[0], &8))),
    writes("prepend", "true", |client, about| text(client.prepend(about.keys[0], &8))),
    writes("cas", "true", |client, about| {
        text(client.cas(about.keys[0], &8, about.cas, MINUTE).map(|outcome| outcome == CasOutcome::Stored))
    }),
    writes("cas of old", "true", |client, about| {
        text(client.cas(about.keys[0], &8, about.cas - 1, MINUTE).map(|outcome| outcome == CasOutcome::Changed))
    }),
    writes("delete", "true", |client, about| text(client.delete(about.keys[0]))),
    writes("incr", "Some(9)", |client, about| text(client.incr(about.keys[0], 2))),
    writes("decr", "Some(5)", |client, about| text(client.decr(about.keys[0], 2))),
    writes("set_many", "()", |client, about| {
        all(client.set_many(names(about).into_iter().map(|key| (key, 8)).collect(), MINUTE))
    }),
    writes("delete_many", "()", |client, about| all(client.delete_many(&names(about)))),
    writes("flush_all", "()", |client, _| text(only(client.flush_all(Duration::from_secs(100_000))))),
    writes("cache_memlimit", "()", |client, _| text(only(client.cache_memlimit(64)))),
];

fn names(about: &About<'_>) -> Vec<String> {
    about.keys.map(str::to_owned).to_vec()
}

fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> Result<String, Error> {
    result.map(|answer| format!("{answer:?}"))
}

fn many(values: impl IntoIterator<Item = (String, u64)>, failed: Failures) -> Result<String, Error> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort();
    all(failed).map(|_| format!("{:?}", values.into_iter().map(|(_, value)| value).collect::<Vec<_>>()))
}

fn all(failed: Failures) -> Result<String, Error> {
    failed.into_result().map(|()| "()".to_owned())
}
