//! Names of which there is a closed list: enums whose variants have names, and the known
//! name closest to a misspelt one. The wording of suggestions is up to the caller.
//!
//! The macro crate has a copy of [`nearest`], since it can export nothing but macros.

/// Declares an enum whose variants have names, and lists them: `as_str` names one, and
/// `ALL` has every one, in the order of the declaration.
macro_rules! named {
    (
        $(#[$about:meta])*
        $seen:vis enum $enum:ident { $($(#[$doc:meta])* $variant:ident $name:literal,)* }
        $(#[$told:meta])*
        $told_to:vis fn as_str;
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $seen enum $enum {
            $($(#[$doc])* $variant,)*
        }

        impl $enum {
            /// Every variant, in the order of its declaration.
            pub(crate) const ALL: [$enum; [$($name),*].len()] = [$($enum::$variant),*];

            $(#[$told])*
            $told_to const fn as_str(self) -> &'static str {
                match self {
                    $($enum::$variant => $name,)*
                }
            }
        }
    };
}

pub(crate) use named;

/// Returns the closest candidate at most two edits away, or three for names longer
/// than six bytes.
pub(crate) fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = if name.len() > 6 { 3 } else { 2 };
    let scored = candidates.iter().map(|candidate| (strsim::levenshtein(name, candidate), *candidate));
    scored.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typo_finds_the_intended_name() {
        let names = ["key", "skip", "ttl", "version"];
        assert_eq!(nearest("tll", &names), Some("ttl"));
        assert_eq!(nearest("versoin", &names), Some("version"));
        assert_eq!(nearest("completely_else", &names), None);
    }
}
