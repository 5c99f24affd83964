//! Prints a finished tree of spans for people: names on the left, durations on
//! the right, and of the fields only whether it was a hit.

use std::fmt::Write;

use tracing_forest::tree::{Field, Span, Tree};

/// Columns before a duration.
const WIDTH: usize = 64;

/// The tree as text; for `tracing_forest::Printer::formatter`.
pub(crate) fn print(tree: &Tree) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    node(tree, "", "", &mut text)?;
    Ok(text)
}

fn node(tree: &Tree, first: &str, rest: &str, text: &mut String) -> std::fmt::Result {
    let span = match tree {
        Tree::Span(span) => span,
        Tree::Event(event) => {
            let reason = field(event.fields(), "cache.miss.reason").map(|reason| format!(": {reason}"));
            let message = event.message().unwrap_or_default();
            return writeln!(text, "{first}• {message}{}", reason.unwrap_or_default());
        }
    };
    let mut line = format!("{first}{}", span.name());
    if let Some(annotation) = annotation(span) {
        write!(line, "  [{annotation}]")?;
    }
    // Padding counts characters, and so does the tree.
    writeln!(text, "{line:WIDTH$} {:>9}", format!("{:.1?}", span.total_duration()))?;
    let last = span.nodes().len().saturating_sub(1);
    for (i, child) in span.nodes().iter().enumerate() {
        let (branch, stem) = if i == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        node(child, &format!("{rest}{branch}"), &format!("{rest}{stem}"), text)?;
    }
    Ok(())
}

/// What a site's span knows about the cache, or what went wrong.
fn annotation(span: &Span) -> Option<String> {
    let site = field(span.fields(), "cache.hit").map(|hit| format!("cache.hit={hit}"));
    site.or_else(|| field(span.fields(), "error.type").map(|error| format!("error.type={error}")))
}

/// A field as text; strings come in quotes.
fn field<'a>(fields: &'a [Field], key: &str) -> Option<&'a str> {
    fields.iter().find(|field| field.key() == key).map(|field| field.value().trim_matches('"'))
}
