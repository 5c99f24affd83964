//! Durations as a user writes them in the attribute: seconds, text such as
//! `"1h30m"`, or an expression.
//!
//! What several durations mean together is in `freshness`. The value of an
//! expression is judged by the runtime.

use std::time::Duration;

use quote::ToTokens;
use syn::{Expr, Lit};

/// A length of time.
pub(crate) enum Period {
    /// A literal, with its value.
    Fixed(Duration, Lit),
    /// An expression of type `Duration`, or `u64` for seconds.
    Expr(Box<Expr>),
}

impl Period {
    /// Returns the length, if it is a literal.
    pub(crate) fn fixed(&self) -> Option<Duration> {
        match self {
            Period::Fixed(duration, _) => Some(*duration),
            Period::Expr(_) => None,
        }
    }

    /// Returns the expression, if it is not a literal.
    pub(crate) fn expr(&self) -> Option<&Expr> {
        match self {
            Period::Fixed(..) => None,
            Period::Expr(expr) => Some(expr),
        }
    }

    /// Returns the tokens that an error points at.
    pub(crate) fn written(&self) -> &dyn ToTokens {
        match self {
            Period::Fixed(_, literal) => literal,
            Period::Expr(expr) => expr,
        }
    }
}

/// What an argument takes besides durations.
#[derive(Clone, Copy)]
pub(crate) enum Besides {
    Nothing,
    /// The word `forever`.
    Forever,
    /// The word `auto`.
    Auto,
}

/// Reads the value of an argument that takes a duration; other words that it takes have
/// been read before.
pub(crate) fn read(expr: Expr, argument: &str, besides: Besides) -> syn::Result<Period> {
    let literal = match expr {
        Expr::Lit(literal) => literal.lit,
        Expr::Unary(syn::ExprUnary { op: syn::UnOp::Neg(_), .. }) => {
            return Err(syn::Error::new_spanned(&expr, format!("`{argument}` cannot be negative")));
        }
        Expr::Path(path) if path.path.is_ident("forever") => {
            return Err(syn::Error::new_spanned(path, format!("only `ttl` may be `forever`; `{argument}` has an end")));
        }
        expr => return Ok(Period::Expr(Box::new(expr))),
    };
    let duration = match &literal {
        Lit::Int(seconds) if seconds.suffix().is_empty() => Duration::from_secs(seconds.base10_parse()?),
        Lit::Str(text) => parse(&text.value()).ok_or_else(|| {
            syn::Error::new_spanned(text, "not a duration; write for example `\"90s\"`, `\"5m\"` or `\"1h30m\"`")
        })?,
        _ => return Err(syn::Error::new_spanned(literal, other(besides))),
    };
    if duration.is_zero() {
        return Err(syn::Error::new_spanned(literal, zero(argument, besides)));
    }
    Ok(Period::Fixed(duration, literal))
}

fn other(besides: Besides) -> String {
    let word = match besides {
        Besides::Nothing => "",
        Besides::Forever => ", `forever`",
        Besides::Auto => ", `auto`",
    };
    format!("not a duration; write seconds (`300`), text (`\"5m\"`){word} or a `Duration`")
}

fn zero(argument: &str, besides: Besides) -> String {
    match besides {
        Besides::Forever => {
            "a ttl of zero would make memcached keep the value forever; write `forever` if that is meant".into()
        }
        Besides::Nothing | Besides::Auto => format!("a `{argument}` of zero has no effect; leave it out"),
    }
}

/// Reads seconds, or a sum of numbers with units. The environment's durations have
/// the same grammar.
fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs);
    }
    humantime::parse_duration(text).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn sums_of_units_are_added() {
        let seconds = |text| parse(text).map(|d| d.as_secs());
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("300"), Some(300));
        assert_eq!(seconds("1h30m"), Some(5_400));
        assert_eq!(seconds("1d 2h"), Some(93_600));
        assert_eq!(seconds(" 1hr "), Some(3_600));
        assert_eq!(seconds("2weeks"), Some(1_209_600));
        assert_eq!(parse("1500ms").map(|d| d.as_millis()), Some(1_500));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "m", "5 parsecs", "-5s", "1.5", "1h 30", "99999999999999999999w"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
