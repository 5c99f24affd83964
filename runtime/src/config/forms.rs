//! Parses the written forms of settings: durations, sizes, percentages.
//!
//! `choices` has the settings that are one of a few words.

use std::time::Duration;

use super::enabled::Enabled;
use crate::codec::Standard;
use crate::config::jitter::Jitter;
use crate::exchange::Ttl;
use crate::value::signature::Secret;

/// Sets a setting to the value if it could be read. An error says what is accepted.
pub(super) fn assign<T: Accepted>(setting: &mut T, value: Option<T>) -> Result<(), String> {
    *setting = value.ok_or(T::FORM)?;
    Ok(())
}

/// Sets an optional setting.
pub(super) fn assign_some<T: Accepted>(setting: &mut Option<T>, value: Option<T>) -> Result<(), String> {
    *setting = Some(value.ok_or(T::FORM)?);
    Ok(())
}

/// The written form of a type of setting.
pub(super) trait Accepted {
    const FORM: &'static str;
}

impl Accepted for Duration {
    const FORM: &'static str = "a duration such as `300` (seconds), `50ms` or `5m`, more than zero and at most a day";
}

impl Accepted for usize {
    const FORM: &'static str = "a whole number from 1 to 65535";
}

impl Accepted for Jitter {
    const FORM: &'static str = "`off`, or a percentage from 1 to 50 such as `10` or `10%`";
}

impl Accepted for Option<usize> {
    const FORM: &'static str = "`off`, or a number of bytes such as `4096` or `4KiB`, at least 64";
}

impl Accepted for u64 {
    const FORM: &'static str = "a number of bytes such as `67108864`, `64MiB` or `1GiB`, from 2MiB to 64GiB";
}

impl Accepted for Standard {
    const FORM: &'static str = Standard::FORM;
}

impl Accepted for Secret {
    const FORM: &'static str = Secret::FORM;
}

impl Accepted for Enabled {
    const FORM: &'static str = "`true`, `false`, or functions to switch off such as `-fib,-user`";
}

impl Accepted for Ttl {
    const FORM: &'static str = "a duration such as `300` (seconds), `90s` or `5m`, more than zero, or `forever`";
}

/// The longest limit that is believed: a longer one is a typing error.
const LONGEST_LIMIT: Duration = Duration::from_secs(86_400);

/// The bounds on the bytes kept in this process: two of the largest items,
/// and what its tables can be made for.
pub(crate) const SMALLEST_NEAR: u64 = 2 << 20;
pub(crate) const LARGEST_NEAR: u64 = 64 << 30;

pub(super) fn ttl(text: &str) -> Option<Ttl> {
    if text == "forever" { Some(Ttl::Forever) } else { duration(text).map(Ttl::For) }
}

/// Sets how long a call may take. A bare number is seconds elsewhere, but people mean
/// milliseconds here.
pub(super) fn assign_limit(setting: &mut Duration, text: &str) -> Result<(), String> {
    const FORM: &str = "a duration with its unit";
    if number(text).is_some_and(|number| number > 0) {
        return Err(format!("{FORM}: `{text}ms` or `{text}s`"));
    }
    *setting = limit(text).ok_or_else(|| format!("{FORM} such as `50ms` or `2s`, more than zero and at most a day"))?;
    Ok(())
}

pub(super) fn limit(text: &str) -> Option<Duration> {
    duration(text).filter(|limit| *limit <= LONGEST_LIMIT)
}

fn duration(text: &str) -> Option<Duration> {
    let seconds = number(text).map(Duration::from_secs);
    seconds.or_else(|| humantime::parse_duration(text).ok()).filter(|duration| !duration.is_zero())
}

pub(super) fn positive(text: &str) -> Option<usize> {
    number(text)?.try_into().ok().filter(|number| (1..=65_535).contains(number))
}

pub(super) fn bytes(text: &str) -> Option<u64> {
    size(text).filter(|bytes| (SMALLEST_NEAR..=LARGEST_NEAR).contains(bytes))
}

/// Reads digits only; std would take a plus sign as well.
fn number(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn jitter(text: &str) -> Option<Jitter> {
    match text {
        "off" => Some(Jitter(0)),
        text => {
            let percent = u8::try_from(number(text.strip_suffix('%').unwrap_or(text))?).ok()?;
            (1..=Jitter::MOST).contains(&percent).then_some(Jitter(percent))
        }
    }
}

pub(super) fn compress(text: &str) -> Option<Option<usize>> {
    match text {
        "off" => Some(None),
        text => usize::try_from(size(text)?).ok().filter(|bytes| *bytes >= SHORTEST_TO_COMPRESS).map(Some),
    }
}

/// The smallest size that compression can reduce.
pub(crate) const SHORTEST_TO_COMPRESS: usize = 64;

pub(super) fn size(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[end..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..end].parse::<u64>().ok()?.checked_mul(unit)
}

pub(super) fn enabled(text: &str) -> Option<Enabled> {
    match text {
        "true" => Some(Enabled::All),
        "false" => Some(Enabled::None),
        list => {
            let names = list.split(',').map(|name| name.trim().strip_prefix('-').filter(|name| !name.is_empty()));
            names.map(|name| name.map(str::to_owned)).collect::<Option<_>>().map(Enabled::Without)
        }
    }
}
