//! The grammar of key templates: text with `<placeholders>`.
//!
//! It works on strings; what a placeholder's expression means is decided in
//! `plan`.

use std::fmt;

use crate::nearest::unknown;

/// A piece of a key template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text that is in the key as it stands.
    Literal(String),
    /// `<expr>` or `<expr:format>`.
    Placeholder { expr: String, format: Format },
}

/// How a placeholder's value becomes text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// By the trait `KeyPart`.
    Part,
    /// By `Display`.
    Display,
    /// By `Debug`.
    Debug,
    /// As a hash of 128 bits, by `Hash`.
    Hash,
    /// As the bit pattern of a float.
    Bits,
}

/// The formats by the names that a user writes, which are also those of the
/// runtime's functions; without one it is [`Format::Part`].
const FORMATS: [(&str, Format); 4] =
    [("display", Format::Display), ("debug", Format::Debug), ("hash", Format::Hash), ("bits", Format::Bits)];

impl Format {
    /// Finds the format that has this name.
    pub(crate) fn called(name: &str) -> Option<Format> {
        FORMATS.iter().find(|(known, _)| *known == name).map(|(_, format)| *format)
    }

    /// Returns the names of all formats.
    pub(crate) fn names() -> [&'static str; FORMATS.len()] {
        FORMATS.map(|(name, _)| name)
    }

    /// Names the runtime's function for the format.
    pub(crate) fn function(self) -> Option<&'static str> {
        FORMATS.iter().find(|(_, format)| *format == self).map(|(name, _)| *name)
    }
}

/// What is wrong with a template; its `Display` is the compiler error.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Mistake {
    Empty,
    Unclosed(String),
    EmptyPlaceholder,
    BadCharacter(char),
    UnknownFormat(String),
    Adjacent(String, String),
    NoSeparator { literal: String, before: String, after: String },
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mistake::Empty => f.write_str("the key is empty; write a template such as `\"user:<id>\"`"),
            Mistake::Unclosed(rest) => write!(f, "`<{rest}` has no closing `>`; write `<<` for a literal `<`"),
            Mistake::EmptyPlaceholder => f.write_str("`<>` names nothing; write a parameter, as in `<id>`"),
            Mistake::BadCharacter(c) => {
                write!(f, "{c:?} cannot stand in a key; use printable ASCII without spaces")
            }
            Mistake::UnknownFormat(name) => f.write_str(&unknown("format", name, &Format::names())),
            Mistake::Adjacent(a, b) => {
                write!(f, "`<{a}>` and `<{b}>` touch, so different values could give one key; write `<{a}>:<{b}>`")
            }
            Mistake::NoSeparator { literal, before, after } => write!(
                f,
                "`{literal}` between `<{before}>` and `<{after}>` could be part of a value; \
                 it needs a punctuation character such as `:`"
            ),
        }
    }
}

/// Splits a template into its pieces.
pub(crate) fn parse(text: &str) -> Result<Vec<Piece>, Mistake> {
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some(tail) = rest.strip_prefix("<<") {
            literal.push('<');
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix('<') {
            let end = placeholder_end(tail).ok_or_else(|| Mistake::Unclosed(tail.to_owned()))?;
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(placeholder(&tail[..end])?);
            rest = &tail[end + 1..];
        } else if c.is_ascii_graphic() {
            literal.push(c);
            rest = &rest[1..];
        } else {
            return Err(Mistake::BadCharacter(c));
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    if pieces.is_empty() {
        return Err(Mistake::Empty);
    }
    check_separators(&pieces)?;
    Ok(pieces)
}

/// Finds the byte of `literal` that ends the value in front of it, which escapes that byte.
/// Neither `~` and `&`, which divide a value, nor what escapes are made of can be one.
pub(crate) fn terminator(literal: &str) -> Option<u8> {
    literal.bytes().find(|b| b.is_ascii_punctuation() && !b"~&%".contains(b))
}

/// Finds what begins with this name in braces, as in `format!`; a key has them as text.
pub(crate) fn braced(text: &str, name: &str) -> Option<String> {
    let sources = text.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    let mut sources = sources.map(|source| source.split(':').next().unwrap_or_default());
    sources.find(|source| source.split('.').next() == Some(name)).map(str::to_owned)
}

/// Finds the `>` that ends a placeholder; its expression cannot contain one.
fn placeholder_end(text: &str) -> Option<usize> {
    text.find('>')
}

fn placeholder(inner: &str) -> Result<Piece, Mistake> {
    // A path such as `T::ID` has no single colon; a format follows the last one.
    let (expr, format) = match inner.rsplit_once(':') {
        Some((expr, name)) if !expr.ends_with(':') => (expr, format_of(name.trim())?),
        _ => (inner, Format::Part),
    };
    match expr.trim() {
        "" => Err(Mistake::EmptyPlaceholder),
        expr => Ok(Piece::Placeholder { expr: expr.to_owned(), format }),
    }
}

fn format_of(name: &str) -> Result<Format, Mistake> {
    Format::called(name).ok_or_else(|| Mistake::UnknownFormat(name.to_owned()))
}

fn check_separators(pieces: &[Piece]) -> Result<(), Mistake> {
    for window in pieces.windows(2) {
        if let [Piece::Placeholder { expr: a, .. }, Piece::Placeholder { expr: b, .. }] = window {
            return Err(Mistake::Adjacent(a.clone(), b.clone()));
        }
    }
    for window in pieces.windows(3) {
        if let [Piece::Placeholder { expr: a, .. }, Piece::Literal(text), Piece::Placeholder { expr: b, .. }] = window
            && terminator(text).is_none()
        {
            return Err(Mistake::NoSeparator { literal: text.clone(), before: a.clone(), after: b.clone() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Piece {
        Piece::Literal(text.into())
    }

    fn placeholder(expr: &str, format: Format) -> Piece {
        Piece::Placeholder { expr: expr.into(), format }
    }

    #[test]
    fn text_and_placeholders_alternate() {
        assert_eq!(parse("fib:<n>").unwrap(), [literal("fib:"), placeholder("n", Format::Part)]);
        assert_eq!(
            parse("<user.id>/x-<f:bits>!").unwrap(),
            [placeholder("user.id", Format::Part), literal("/x-"), placeholder("f", Format::Bits), literal("!")]
        );
    }

    #[test]
    fn a_doubled_bracket_is_a_literal_one() {
        assert_eq!(parse("a<<b:<n>").unwrap(), [literal("a<b:"), placeholder("n", Format::Part)]);
    }

    #[test]
    fn every_mistake_is_told_apart() {
        assert_eq!(parse(""), Err(Mistake::Empty));
        assert_eq!(parse("a:<n"), Err(Mistake::Unclosed("n".into())));
        assert_eq!(parse("a:<>"), Err(Mistake::EmptyPlaceholder));
        assert_eq!(parse("a b"), Err(Mistake::BadCharacter(' ')));
        assert_eq!(parse("a:\u{e9}"), Err(Mistake::BadCharacter('\u{e9}')));
        assert_eq!(parse("<n:hex>"), Err(Mistake::UnknownFormat("hex".into())));
        assert_eq!(parse("<a><b>"), Err(Mistake::Adjacent("a".into(), "b".into())));
        assert!(matches!(parse("<a>x<b>"), Err(Mistake::NoSeparator { .. })));
        assert!(matches!(parse("<a>~<b>"), Err(Mistake::NoSeparator { .. })));
    }

    #[test]
    fn names_in_braces_are_found() {
        assert_eq!(braced("a:{b}:{id}", "id").as_deref(), Some("id"));
        assert_eq!(braced("{user.id:?}", "user").as_deref(), Some("user.id"));
        assert_eq!(braced("{ids}:{}:{id", "id"), None);
    }

    #[test]
    fn a_separator_is_its_first_punctuation() {
        assert_eq!(terminator("x-y:"), Some(b'-'));
        assert_eq!(terminator("~&%7:"), Some(b':'));
        assert_eq!(terminator("abc"), None);
    }
}
