//! The settings that are one of a few words.
//!
//! One table for each: what is read, what is printed and what is accepted come
//! from it.

use std::fmt;
use std::str::FromStr;

use crate::config::forms::Accepted;
use crate::error::{Error, ErrorKind};
use crate::server::{Distribution, Failover, Protocol};

/// What spans show beside the key's template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Shown {
    /// Nothing else.
    #[default]
    Nothing,
    /// The key.
    Keys,
    /// The key, and 256 bytes of the value as it is stored: anyone with access to the
    /// traces can read the data.
    Values,
}

macro_rules! choices {
    ($($choice:ident ($noun:literal): $first:ident = $first_word:literal
        $(, $other:ident = $word:literal)* or $last:ident = $last_word:literal;)*) => {$(
        /// Writes the word that stands for it in the environment.
        impl fmt::Display for $choice {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $choice::$first => $first_word,
                    $($choice::$other => $word,)*
                    $choice::$last => $last_word,
                })
            }
        }

        /// Reads the word that stands for it in the environment.
        impl FromStr for $choice {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                match text {
                    $first_word => Ok($choice::$first),
                    $($word => Ok($choice::$other),)*
                    $last_word => Ok($choice::$last),
                    _ => Err(unknown($noun, text, Self::FORM)),
                }
            }
        }

        impl Accepted for $choice {
            const FORM: &'static str =
                concat!("`", $first_word, $("`, `", $word,)* "` or `", $last_word, "`");
        }
    )*};
}

choices! {
    Distribution ("distribution"): Ketama = "ketama", Rendezvous = "rendezvous" or Modula = "modula";
    Failover ("failover"): None = "none" or Next = "next";
    Protocol ("protocol"): Auto = "auto", Meta = "meta" or Ascii = "ascii";
    Shown ("choice of what spans show"): Nothing = "none", Keys = "keys" or Values = "values";
}

fn unknown(noun: &str, text: &str, accepted: &str) -> Error {
    Error::new(ErrorKind::Configuration, format!("{text:?} is no {noun}; accepted: {accepted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_as_the_same() {
        for distribution in [Distribution::Ketama, Distribution::Rendezvous, Distribution::Modula] {
            assert_eq!(distribution.to_string().parse::<Distribution>().unwrap(), distribution);
        }
        for failover in [Failover::None, Failover::Next] {
            assert_eq!(failover.to_string().parse::<Failover>().unwrap(), failover);
        }
        for protocol in [Protocol::Auto, Protocol::Meta, Protocol::Ascii] {
            assert_eq!(protocol.to_string().parse::<Protocol>().unwrap(), protocol);
        }
        for shown in [Shown::Nothing, Shown::Keys, Shown::Values] {
            assert_eq!(shown.to_string().parse::<Shown>().unwrap(), shown);
        }
    }

    #[test]
    fn another_word_is_refused_with_what_is_accepted() {
        let error = "Ketama".parse::<Distribution>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let told = r#""Ketama" is no distribution; accepted: `ketama`, `rendezvous` or `modula`"#;
        assert_eq!(error.to_string(), told);
        assert!("true".parse::<Failover>().unwrap_err().to_string().ends_with("accepted: `none` or `next`"));
    }
}
