//! Durations as people write them: `90s`, `5m`, `1h30m`.
//!
//! Only for literals in the attribute; the environment is read at run time.

use std::time::Duration;

/// Reads a sum of numbers with units (`ms`, `s`, `m`, `h`, `d`, `w`).
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        sum = sum.checked_add(unit_of(unit)?.checked_mul(number.parse().ok()?)?)?;
        rest = tail.trim_start();
    }
    Some(sum)
}

fn unit_of(unit: &str) -> Option<Duration> {
    Some(match unit {
        "ms" => Duration::from_millis(1),
        "" | "s" | "sec" | "second" | "seconds" => Duration::from_secs(1),
        "m" | "min" | "minute" | "minutes" => Duration::from_secs(60),
        "h" | "hour" | "hours" => Duration::from_secs(3_600),
        "d" | "day" | "days" => Duration::from_secs(86_400),
        "w" | "week" | "weeks" => Duration::from_secs(604_800),
        _ => return None,
    })
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
        assert_eq!(parse("1500ms").map(|d| d.as_millis()), Some(1_500));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "m", "5 parsecs", "-5s", "1.5h", "99999999999999999999w"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
