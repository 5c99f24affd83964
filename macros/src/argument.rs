//! The names of the attributes' arguments, and how each is written.
//!
//! What stands behind a name is read in `attr`, and in `writer/attr`.

use std::fmt;

/// Declares an attribute's arguments from a table of variants, names and examples.
macro_rules! arguments {
    ($(#[$doc:meta])* $arguments:ident: $($variant:ident $name:literal $example:literal)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $arguments {
            $($variant),*
        }

        impl $arguments {
            /// Every argument.
            pub(crate) const ALL: &[$arguments] = &[$($arguments::$variant),*];

            /// Returns the name that a user writes.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $($arguments::$variant => $name),*
                }
            }

            /// Returns the argument as a user could write it.
            pub(crate) fn example(self) -> &'static str {
                match self {
                    $($arguments::$variant => $example),*
                }
            }

            /// Finds the argument that has this name.
            pub(crate) fn called(name: &str) -> Option<$arguments> {
                $arguments::ALL.iter().copied().find(|argument| argument.name() == name)
            }

            /// Returns the names of all arguments.
            pub(crate) fn names() -> Vec<&'static str> {
                $arguments::ALL.iter().map(|argument| argument.name()).collect()
            }
        }

        impl fmt::Display for $arguments {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

arguments! {
    /// An argument of `#[memcached]`.
    Argument:
    Key "key" r#"key = "user:<id>""#
    Skip "skip" "skip(connection)"
    Each "each" "each(id in ids)"
    Ttl "ttl" "ttl = 300"
    Grace "grace" r#"grace = "1h""#
    Idle "idle" r#"idle = "10m""#
    Previous "previous" "previous = old"
    RefreshAhead "refresh_ahead" r#"refresh_ahead = "30s""#
    Patience "patience" r#"patience = "50ms""#
    CacheNone "cache_none" "cache_none = 10"
    CacheErr "cache_err" "cache_err = 10"
    StaleIf "stale_if" "stale_if = |error| error.is_timeout()"
    StoreIf "store_if" "store_if = |value| !value.is_empty()"
    When "when" "when = limit < 100"
    Near "near" r#"near = "1s""#
    SingleFlight "single_flight" "single_flight = local"
    AtMost "at_most" "at_most = 8"
    OnError "on_error" "on_error = bypass"
    Codec "codec" "codec = json"
    Version "version" "version = 1"
    Name "name" r#"name = "users""#
    Entry "entry" "entry = user_entry"
    Cache "cache" "cache = &self.cache"
    Group "group" "group = team(team)"
    Crate "crate" "crate = my_prelude::memocached"
}

arguments! {
    /// A named argument of `#[invalidates]`; some are also `#[updates]`'s.
    WriterArgument:
    After "after" "after = |team: &Team| team_entry(team.id)"
    HoldOff "hold_off" r#"hold_off = "2s""#
    Mark "mark" "mark = off"
    OnError "on_error" "on_error = refuse"
    Crate "crate" "crate = my_prelude::memocached"
}

impl WriterArgument {
    /// The names of those that `#[updates]` takes.
    pub(crate) const OF_UPDATES: &[&str] = &["on_error", "crate"];
}

/// What other crates' attributes call things, and what to write here.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (&["time", "expires", "expire", "expiry", "max_age", "TimeToLive"], "write `ttl = 300`"),
    (&["convert", "ty", "cache_key"], r#"write a template, such as `key = "user:<id>"`"#),
    (&["Ignore", "ignore", "exclude"], "write `skip(connection)`"),
    (&["create", "cache_type", "map_error"], "write `cache = &self.cache` to choose a cache"),
    (
        &["size", "max_size", "limit", "capacity", "Capacity", "policy"],
        "leave it out: memcached limits what it keeps, and `MEMCACHED_NEAR_SIZE` limits `near`",
    ),
    (
        &["result", "option"],
        "leave it out: of a `Result` only `Ok` is stored, and of an `Option` only `Some`, \
         unless `cache_err` or `cache_none` says otherwise",
    ),
    (
        &["sync_writes", "sync_lock", "sync"],
        "leave it out: while one caller computes, the others wait; `single_flight` says which",
    ),
    (&["with_cached_flag"], "write `entry = user_entry`, and ask `user_entry(id).get()` what is cached"),
    (&["refresh", "time_refresh"], r#"write `refresh_ahead = "30s"`, or `idle = "10m"` for what hits keep alive"#),
    (&["time_to_idle", "tti"], r#"write `idle = "10m"`"#),
    (&["concurrency", "max_concurrency", "permits"], "write `at_most = 8`"),
    (&["condition"], "write `when = limit < 100`"),
    (&["unless"], "write `store_if = |value| !value.is_empty()`"),
    (&["tags", "tag"], "write `group = team(team)`"),
    (&["prefix", "namespace"], "set `MEMCACHED_NAMESPACE`, or the namespace of a `cache`"),
];

/// Says what to write in place of another crate's argument.
pub(crate) fn elsewhere(name: &str) -> Option<String> {
    let (_, advice) = ELSEWHERE.iter().find(|(names, _)| names.contains(&name))?;
    Some(format!("`{name}` is no argument here; {advice}"))
}

#[cfg(test)]
mod tests {
    use super::{Argument, ELSEWHERE, WriterArgument};

    #[test]
    fn every_argument_is_documented_and_its_example_begins_with_it() {
        for argument in Argument::ALL {
            let name = argument.name();
            let is_a_list = matches!(argument, Argument::Skip | Argument::Each);
            let row = if is_a_list { format!("| `{name}(") } else { format!("| `{name}` | ") };
            assert!(include_str!("memcached.md").contains(&row), "no row for {name}");
            assert!(argument.example().starts_with(name), "{name}");
        }
    }

    #[test]
    fn every_argument_of_a_writer_is_documented_and_its_example_begins_with_it() {
        for argument in WriterArgument::ALL {
            let name = argument.name();
            let row = format!("| `{name}` | ");
            assert!(include_str!("invalidates.md").contains(&row), "no row for {name}");
            let is_updates = WriterArgument::OF_UPDATES.contains(&name);
            assert_eq!(include_str!("updates.md").contains(&row), is_updates, "{name}");
            assert!(argument.example().starts_with(name), "{name}");
        }
    }

    #[test]
    fn no_argument_has_the_name_of_another_crates() {
        for name in ELSEWHERE.iter().flat_map(|(names, _)| *names) {
            assert!(Argument::called(name).is_none(), "{name}");
        }
    }
}
