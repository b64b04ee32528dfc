//! Sizes, durations and shares of memory as people write them: `64MiB`, `5m`, `1h30m`, `60%`.
//!
//! Called by the raw settings, which keep the place of each value, so a bad one is reported with line and column.
//! Not here: what a setting means, and its range.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// A number of bytes, written `67108864`, `64MiB` or `1.5GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A duration, written `250ms`, `5m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// An amount of memory: bytes, or a share of what the process may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// This many bytes.
    Bytes(u64),
    /// This many hundredths of the machine's memory, or of the control group's limit if that is less.
    Percent(u64),
}

const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const SPANS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
/// Longest duration a setting may have. Far above any sensible one, and small enough for every later sum.
const SPAN_MS_MAX: u64 = 3650 * 86_400_000;

impl Size {
    /// Reads a size.
    ///
    /// # Errors
    /// What is wrong, and how sizes are written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no size: write a number and a unit, like `64MiB` (B, KiB, MiB, GiB, TiB)");
        let (number, factor) = SIZES
            .iter()
            .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number.trim_end(), *factor)))
            .unwrap_or((text, 1));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 || number.ends_with('.') {
            return Err(bad());
        }
        let whole = whole.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)?;
        let fraction = match fraction {
            "" => 0,
            digits => digits.parse::<u64>().map_err(|_| bad())? * factor / 10_u64.pow(u32_len(digits)),
        };
        whole.checked_add(fraction).map(Self).ok_or_else(bad)
    }
}

impl Span {
    /// Reads a duration.
    ///
    /// # Errors
    /// What is wrong, and how durations are written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad =
            || format!("`{text}` is no duration: write numbers with units, like `5m` or `1h30m` (ms, s, m, h, d)");
        let mut rest = text;
        let mut total_ms = 0_u64;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let factor = SPANS.iter().find(|(name, _)| *name == unit).map(|(_, ms)| *ms).ok_or_else(bad)?;
            let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(bad)?;
            total_ms = total_ms.checked_add(part).filter(|sum| *sum <= SPAN_MS_MAX).ok_or_else(bad)?;
            rest = tail;
        }
        if text.is_empty() { Err(bad()) } else { Ok(Self(Duration::from_millis(total_ms))) }
    }

    /// Milliseconds; the range of a span fits.
    #[must_use]
    pub fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }
}

impl Memory {
    /// Reads an amount of memory.
    ///
    /// # Errors
    /// What is wrong, and how amounts are written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(percent) = text.strip_suffix('%') else {
            return Size::parse(text).map(|size| Self::Bytes(size.0)).map_err(|error| format!("{error}, or `60%`"));
        };
        match percent.trim_end().parse::<u64>() {
            Ok(percent @ 1..=100) => Ok(Self::Percent(percent)),
            _ => Err(format!("`{text}` is no share of memory: write `1%` to `100%`, or a size like `2GiB`")),
        }
    }
}

/// At most 6 by the check before.
fn u32_len(digits: &str) -> u32 {
    u32::try_from(digits.len()).unwrap_or(0)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        match SIZES.iter().find(exact) {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.millis().unsigned_abs();
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in [SPANS[4], SPANS[3], SPANS[2], SPANS[1], SPANS[0]] {
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

/// Takes what a value was written as, number or text, and hands it to `parse`.
struct Written<T> {
    what: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for Written<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written { what: "a size like `64MiB`", parse: Self::parse })
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written { what: "a duration like `5m`", parse: Self::parse })
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Written { what: "a size like `2GiB` or a share like `60%`", parse: Self::parse })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_units_and_fractions() {
        for (text, bytes) in [("0", 0), ("1024", 1024), ("7B", 7), ("64MiB", 64 << 20), ("1.5 GiB", 3 << 29)] {
            assert_eq!(Size::parse(text), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "64MB", "1.MiB", ".5GiB", "1e3", "99999999TiB", "1.1234567KiB"] {
            assert!(Size::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_as_sums_of_parts() {
        for (text, ms) in [("250ms", 250), ("5m", 300_000), ("1h30m", 5_400_000), ("2d", 172_800_000), ("0s", 0)] {
            assert_eq!(Span::parse(text).map(Span::millis), Ok(ms), "{text}");
        }
        for text in ["", "5", "m", "5 m", "5min", "-1s", "1h30", "99999999999999d"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_of_memory_are_between_one_and_a_hundred_percent() {
        assert_eq!(Memory::parse("60%"), Ok(Memory::Percent(60)));
        assert_eq!(Memory::parse("2GiB"), Ok(Memory::Bytes(2 << 30)));
        for text in ["0%", "101%", "-1%", "%", "half"] {
            assert!(Memory::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_printed_reads_back_as_the_same_value() {
        for bytes in [0, 1, 1023, 1024, 64 << 20, (64 << 20) + 1, 3 << 29, 5 << 40] {
            assert_eq!(Size::parse(&Size(bytes).to_string()), Ok(Size(bytes)));
        }
        for ms in [0, 1, 999, 1000, 90_061_001, 300_000] {
            let span = Span(Duration::from_millis(ms));
            assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }
    }
}
