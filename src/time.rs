//! Time as text: points ([RFC 3339](https://www.rfc-editor.org/rfc/rfc3339), UTC, nanoseconds) and lengths.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time now: `2026-05-04T03:02:01.000000009Z`.
pub fn now_rfc3339() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(since.as_secs(), since.subsec_nanos())
}

/// The units of [`parse_duration`], in nanoseconds.
const UNITS: [(&str, u128); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// A length of time as Go writes it: numbers with units, `1h2m3.5s`, `100ms`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text;
    let mut total = 0u128;
    while !rest.is_empty() {
        let (number, tail) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, tail) = tail.split_at(tail.find(is_number).unwrap_or(tail.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let places = u32::try_from(fraction.len()).ok().filter(|places| *places <= 9)?;
        let parse = |digits: &str| digits.parse::<u64>().ok().map(u128::from);
        total += parse(whole)? * factor + parse(fraction)? * factor / 10u128.pow(places);
        rest = tail;
    }
    u64::try_from(total).ok().filter(|_| !text.is_empty()).map(Duration::from_nanos)
}

/// A time given in seconds since 1970 and nanoseconds.
fn rfc3339(seconds: u64, nanoseconds: u32) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanoseconds:09}Z")
}

/// Year, month and day of a number of days since 1970. Counted in eras of 400 years that begin on a 1st of March, so that the leap day
/// is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::{parse_duration, rfc3339};
    use std::time::Duration;

    #[test]
    fn lengths_of_time_are_those_of_go() {
        for (text, length) in [
            ("5s", Some(5_000_000_000)),
            ("100ms", Some(100_000_000)),
            ("1m30s", Some(90_000_000_000)),
            ("1.5h", Some(5_400_000_000_000)),
            ("1h0.5s", Some(3_600_500_000_000)),
            ("7us", Some(7_000)),
            ("7\u{b5}s9ns", Some(7_009)),
            ("0s", Some(0)),
            ("5", None),
            ("s", None),
            ("", None),
            ("-5s", None),
            ("5 s", None),
            ("5d", None),
            (".s", None),
            ("99999999999999999999h", None),
        ] {
            assert_eq!(parse_duration(text), length.map(Duration::from_nanos), "{text:?}");
        }
    }

    #[test]
    fn known_moments() {
        let cases = [
            (0, "1970-01-01T00:00:00.000000007Z"),
            (951_782_399, "2000-02-28T23:59:59.000000007Z"),
            (951_782_400, "2000-02-29T00:00:00.000000007Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000000007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000007Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(rfc3339(seconds, 7), text);
        }
    }
}
