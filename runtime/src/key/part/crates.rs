//! Implements [`KeyPart`] for the types of other crates, each behind a feature of
//! that crate's name.
//!
//! Values are written as their `Display` shows them, where that shows all of them.

macro_rules! displayed {
    ($($feature:literal: $($type:ty),+;)*) => {$($(
        #[cfg(feature = $feature)]
        impl super::KeyPart for $type {
            fn write(&self, key: &mut super::KeyWriter) {
                key.formatted(format_args!("{self}"));
            }
        }
    )+)*};
}

displayed! {
    "chrono": chrono::NaiveDate, chrono::FixedOffset, chrono::TimeDelta, chrono::Weekday;
    "compact_str": compact_str::CompactString;
    "rust_decimal": rust_decimal::Decimal;
    "semver": semver::Version, semver::VersionReq;
    "time": ::time::Date, ::time::Time, ::time::PrimitiveDateTime, ::time::OffsetDateTime;
    "time": ::time::UtcOffset, ::time::Month, ::time::Weekday;
    "url": url::Url;
    "uuid": uuid::Uuid;
}

/// Marks a leap second, which `Display` shows as the second after it.
#[cfg(feature = "chrono")]
macro_rules! clocks {
    ($($type:ty),+) => {$(
        impl super::KeyPart for $type {
            fn write(&self, key: &mut super::KeyWriter) {
                let is_leap = chrono::Timelike::nanosecond(self) >= 1_000_000_000;
                key.formatted(format_args!("{self}{}", if is_leap { " leap" } else { "" }));
            }
        }
    )+};
}

#[cfg(feature = "chrono")]
clocks!(chrono::NaiveTime, chrono::NaiveDateTime, chrono::DateTime<chrono::Utc>, chrono::DateTime<chrono::FixedOffset>);

/// Writes the nanoseconds, as of std's.
#[cfg(feature = "time")]
impl super::KeyPart for ::time::Duration {
    fn write(&self, key: &mut super::KeyWriter) {
        super::KeyPart::write(&self.whole_nanoseconds(), key);
    }
}

/// Writes the shortest digits that give the same float.
#[cfg(feature = "ordered-float")]
macro_rules! floats {
    ($($type:ty),+) => {$(
        impl super::KeyPart for $type {
            fn write(&self, key: &mut super::KeyWriter) {
                key.formatted(format_args!("{:?}", self.into_inner()));
            }
        }
    )+};
}

#[cfg(feature = "ordered-float")]
floats!(
    ordered_float::OrderedFloat<f32>,
    ordered_float::OrderedFloat<f64>,
    ordered_float::NotNan<f32>,
    ordered_float::NotNan<f64>
);

#[cfg(all(
    test,
    feature = "chrono",
    feature = "compact_str",
    feature = "ordered-float",
    feature = "rust_decimal",
    feature = "semver",
    feature = "time",
    feature = "url",
    feature = "uuid"
))]
mod tests {
    use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta, Timelike};
    use rust_decimal::Decimal;

    use crate::key::{KeyBuilder, KeyPart};

    fn text(value: impl KeyPart) -> String {
        let mut key = KeyBuilder::new("");
        key.part(&value);
        key.finish().expect("every value can be written").wire().to_owned()
    }

    #[test]
    fn the_text_of_a_value_is_stable_across_versions() {
        let date = NaiveDate::from_ymd_opt(2026, 1, 2).unwrap();
        let noon = date.and_hms_nano_opt(12, 0, 1, 5_000_000).unwrap();
        let utc = DateTime::from_timestamp(1, 0).unwrap();
        let east = FixedOffset::east_opt(3_600).unwrap();
        let later = ::time::Date::from_ordinal_date(2026, 2).unwrap();
        let texts = [
            (text(date), "2026-01-02"),
            (text(noon), "2026-01-02%2012%3A00%3A01.005"),
            (text(noon.time()), "12%3A00%3A01.005"),
            (text(utc), "1970-01-01%2000%3A00%3A01%20UTC"),
            (text(utc.with_timezone(&east)), "1970-01-01%2001%3A00%3A01%20%2B01%3A00"),
            (text(TimeDelta::milliseconds(1_500)), "PT1.5S"),
            (text(later), "2026-01-02"),
            (text(later.midnight()), "2026-01-02%200%3A00%3A00.0"),
            (text(later.midnight().assume_utc()), "2026-01-02%200%3A00%3A00.0%20%2B00%3A00%3A00"),
            (text(::time::Duration::SECOND), "1000000000"),
            (text(url::Url::parse("http://a/b?c").unwrap()), "http%3A%2F%2Fa%2Fb%3Fc"),
            (text(Some(uuid::Uuid::nil())), "00000000-0000-0000-0000-000000000000"),
            (text([Decimal::new(120, 2), Decimal::new(-1, 0)]), "[1.20,-1]"),
            (text(semver::Version::new(1, 2, 3)), "1.2.3"),
            (text(compact_str::CompactString::new("a b")), "a%20b"),
            (text((ordered_float::OrderedFloat(0.1), ordered_float::NotNan::new(1e300_f64).unwrap())), "(0.1,1e300)"),
        ];
        for (text, expected) in &texts {
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_leap_second_is_not_the_second_after_it() {
        let time = chrono::NaiveTime::from_hms_opt(1, 2, 3).unwrap();
        let leap = time.with_nanosecond(1_000_000_000).unwrap();
        assert_ne!(text(leap), text(time.with_second(4).unwrap()));
    }
}
