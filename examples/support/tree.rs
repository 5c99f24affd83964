//! Prints a finished tree of spans for people: names on the left, durations on
//! the right, and of the fields only hit or miss, or the error.

use std::fmt::Write;
use std::io::IsTerminal;

use tracing_forest::tree::{Field, Span, Tree};

/// The columns in front of a duration.
const WIDTH: usize = 64;

/// Renders the tree as text, for `tracing_forest::Printer::formatter`.
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
    let name = format!("{first}{}", span.name());
    let annotation = annotation(span).map(|annotation| format!("  [{annotation}]")).unwrap_or_default();
    // Colour codes have no width.
    let width = WIDTH.saturating_sub(name.chars().count());
    let duration = format!("{:.1?}", span.total_duration());
    writeln!(text, "{name}{} {duration:>9}", painted(&format!("{annotation:width$}")))?;
    let last = span.nodes().len().saturating_sub(1);
    for (i, child) in span.nodes().iter().enumerate() {
        let (branch, stem) = if i == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        node(child, &format!("{rest}{branch}"), &format!("{rest}{stem}"), text)?;
    }
    Ok(())
}

/// Returns whether the call was a hit, or the error of the span.
fn annotation(span: &Span) -> Option<String> {
    let site = field(span.fields(), "cache.hit").map(|hit| format!("cache.hit={hit}"));
    site.or_else(|| field(span.fields(), "error.type").map(|error| format!("error.type={error}")))
}

/// Paints a hit green, a miss yellow and an error red, on a terminal and unless
/// `NO_COLOR` is set.
fn painted(annotation: &str) -> String {
    let colour = match annotation.trim() {
        "[cache.hit=true]" => 32,
        "[cache.hit=false]" => 33,
        _ => 31,
    };
    if annotation.trim().is_empty() || !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return annotation.to_owned();
    }
    format!("\x1b[{colour}m{annotation}\x1b[0m")
}

/// Returns a field as text, without the quotes around strings.
fn field<'a>(fields: &'a [Field], key: &str) -> Option<&'a str> {
    fields.iter().find(|field| field.key() == key).map(|field| field.value().trim_matches('"'))
}
