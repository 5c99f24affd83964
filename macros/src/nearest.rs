//! What to say about a name that is not known.
//!
//! Which names are known is for the caller to say.

/// Says that a name is not known, and which one was meant or could be.
pub(crate) fn unknown(kind: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(meant) => format!("unknown {kind} `{name}`; did you mean `{meant}`?"),
        None => format!("unknown {kind} `{name}`; the {kind}s are {}", listed(known, "and")),
    }
}

/// Quotes names and joins them, the last one by a word.
pub(crate) fn listed(names: &[&str], word: &str) -> String {
    match names {
        [] => String::new(),
        [only] => quoted(&[only]),
        [first @ .., last] => format!("{} {word} `{last}`", quoted(first)),
    }
}

/// Quotes names and joins them by commas.
pub(crate) fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Finds the candidate that is at most two edits (three for long names) away.
pub(crate) fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = if name.len() > 6 { 3 } else { 2 };
    let scored = candidates.iter().map(|candidate| (strsim::levenshtein(name, candidate), *candidate));
    scored.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::{listed, nearest};

    #[test]
    fn a_list_ends_with_its_word() {
        assert_eq!(listed(&["a"], "or"), "`a`");
        assert_eq!(listed(&["a", "b", "c"], "or"), "`a`, `b` or `c`");
    }

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let names = ["key", "skip", "ttl", "version"];
        assert_eq!(nearest("tll", &names), Some("ttl"));
        assert_eq!(nearest("versoin", &names), Some("version"));
        assert_eq!(nearest("completely_else", &names), None);
    }
}
