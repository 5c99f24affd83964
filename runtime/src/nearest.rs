//! The known name closest to a misspelt one. The crate of macros has its twin:
//! it can export nothing else than macros.

/// The candidate at most two edits (three for long names) away, if any.
pub(crate) fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let limit = if name.len() > 6 { 3 } else { 2 };
    let scored = candidates.iter().map(|candidate| (distance(name, candidate), *candidate));
    scored.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits).map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[row.len() - 1]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_finger_finds_its_name() {
        let names = ["key", "skip", "ttl", "version"];
        assert_eq!(nearest("tll", &names), Some("ttl"));
        assert_eq!(nearest("versoin", &names), Some("version"));
        assert_eq!(nearest("completely_else", &names), None);
    }
}
