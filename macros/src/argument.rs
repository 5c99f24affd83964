//! The names of the attribute's arguments, and how each is written.
//!
//! What stands behind a name is read in `attr`.

use std::fmt;

/// Declares [`Argument`] from a table of variants, names and examples.
macro_rules! arguments {
    ($($variant:ident $name:literal $example:literal)*) => {
        /// An argument of the attribute.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Argument {
            $($variant),*
        }

        impl Argument {
            /// Every argument.
            pub(crate) const ALL: &[Argument] = &[$(Argument::$variant),*];

            /// The name that a user writes.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Argument::$variant => $name),*
                }
            }

            /// The argument as a user could write it.
            pub(crate) fn example(self) -> &'static str {
                match self {
                    $(Argument::$variant => $example),*
                }
            }
        }
    };
}

arguments! {
    Key "key" r#"key = "user:<id>""#
    Skip "skip" "skip(connection)"
    Ttl "ttl" "ttl = 300"
    Grace "grace" r#"grace = "1h""#
    RefreshAhead "refresh_ahead" r#"refresh_ahead = "30s""#
    CacheNone "cache_none" "cache_none = 10"
    CacheErr "cache_err" "cache_err = 10"
    StoreIf "store_if" "store_if = |value| !value.is_empty()"
    When "when" "when = limit < 100"
    Near "near" r#"near = "1s""#
    SingleFlight "single_flight" "single_flight = local"
    OnError "on_error" "on_error = bypass"
    Codec "codec" "codec = json"
    Version "version" "version = 1"
    Name "name" r#"name = "users""#
    Entry "entry" "entry = user_entry"
    Cache "cache" "cache = &self.cache"
    Crate "crate" "crate = my_prelude::memocached"
}

impl Argument {
    /// Finds the argument that has this name.
    pub(crate) fn called(name: &str) -> Option<Argument> {
        Argument::ALL.iter().copied().find(|argument| argument.name() == name)
    }

    /// The names of all arguments.
    pub(crate) fn names() -> Vec<&'static str> {
        Argument::ALL.iter().map(|argument| argument.name()).collect()
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Argument;

    #[test]
    fn every_argument_is_documented_and_its_example_begins_with_it() {
        for argument in Argument::ALL {
            let name = argument.name();
            let row = if *argument == Argument::Skip { "/// | `skip(" } else { &format!("/// | `{name}` | ") };
            assert!(include_str!("lib.rs").contains(row), "no row for {name}");
            assert!(argument.example().starts_with(name), "{name}");
        }
    }
}
