//! Numbers as PostgreSQL writes them.
//!
//! Called by `value` for each value of a column, millions in an answer: digits are made on the stack and go into the buffer at once.

use crate::wire::Out;

/// Digits of the greatest `u128`, and one more: the zero before the point of a decimal that has no others.
const DIGITS_MAX: usize = 40;
/// The greatest power of ten that is a `u64`, and its zeros.
const GROUP: u128 = 10_000_000_000_000_000_000;
const GROUP_DIGITS: usize = 19;

/// The digits of a number, behind zeros.
struct Digits {
    bytes: [u8; DIGITS_MAX],
    from: usize,
}

impl Digits {
    fn of(mut value: u128) -> Self {
        let mut digits = Self { bytes: [b'0'; DIGITS_MAX], from: DIGITS_MAX };
        loop {
            match u64::try_from(value) {
                Ok(value) => {
                    digits.put(value);
                    return digits;
                }
                Err(_) => {
                    let end = digits.from;
                    digits.put(u64::try_from(value % GROUP).unwrap_or(0));
                    digits.from = end - GROUP_DIGITS;
                    value /= GROUP;
                }
            }
        }
    }

    /// Puts a number before the digits that are there.
    fn put(&mut self, mut value: u64) {
        while value >= 10 {
            self.from -= 2;
            self.bytes[self.from..self.from + 2].copy_from_slice(&pair(value % 100));
            value /= 100;
        }
        // Of a number of an even count of digits all are there; zero has one.
        if self.from == DIGITS_MAX || value > 0 {
            self.from -= 1;
            self.bytes[self.from] = digit(value);
        }
    }

    /// At least so many.
    fn at_least(&self, count: usize) -> &[u8] {
        &self.bytes[self.from.min(DIGITS_MAX - count.min(DIGITS_MAX))..]
    }
}

/// The last digit of a number.
fn digit(value: u64) -> u8 {
    b'0' + u8::try_from(value % 10).unwrap_or(0)
}

/// The last two digits of a number.
pub(super) fn pair(value: u64) -> [u8; 2] {
    [digit(value / 10), digit(value)]
}

/// A whole number.
pub(super) fn whole(out: &mut Out, value: i64) {
    if value < 0 {
        out.put_u8(b'-');
    }
    out.bytes(Digits::of(value.unsigned_abs().into()).at_least(1));
}

/// A number of `places` behind the point.
pub(super) fn decimal(out: &mut Out, value: i128, places: usize) {
    if value < 0 {
        out.put_u8(b'-');
    }
    let digits = Digits::of(value.unsigned_abs());
    let digits = digits.at_least(places + 1);
    let (whole, behind) = digits.split_at(digits.len().saturating_sub(places));
    out.bytes(whole);
    if !behind.is_empty() {
        out.put_u8(b'.');
        out.bytes(behind);
    }
}

/// A `float8`: the shortest text that is the same number; with an exponent where there would be more than 15 digits before the point, or
/// four zeros behind it.
pub(super) fn float8(out: &mut Out, value: f64) {
    if value == 0.0 || (1e-4..1e15).contains(&value.abs()) {
        plain(out, value);
    } else if value.is_finite() {
        scientific(out, value.is_sign_negative(), value.abs());
    } else {
        special(out, value);
    }
}

/// A `float4`: the same, with an exponent from a million on.
pub(super) fn float4(out: &mut Out, value: f32) {
    if value == 0.0 || (1e-4..1e6).contains(&value.abs()) {
        plain(out, value);
    } else if value.is_finite() {
        scientific(out, value.is_sign_negative(), value.abs());
    } else {
        special(out, value.into());
    }
}

fn special(out: &mut Out, value: f64) {
    out.bytes(if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    });
}

/// Within the ranges above the crate writes no exponent either.
fn plain(out: &mut Out, value: impl zmij::Float) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value);
    out.bytes(text.strip_suffix(".0").unwrap_or(text).as_bytes());
}

/// With an exponent of two digits or more, whether the crate writes one or not.
fn scientific(out: &mut Out, is_negative: bool, positive: impl zmij::Float) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(positive);
    let (mantissa, power) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = [whole, part].concat();
    let significant = all.trim_start_matches('0');
    let places = |text: &str| i64::try_from(text.len()).unwrap_or(0);
    let exponent = places(whole) - 1 - (places(&all) - places(significant)) + power.parse().unwrap_or(0);
    let (first, rest) = significant.trim_end_matches('0').split_at(1);
    out.bytes(if is_negative { b"-" } else { b"" });
    out.bytes(first.as_bytes());
    if !rest.is_empty() {
        out.put_u8(b'.');
        out.bytes(rest.as_bytes());
    }
    out.bytes(if exponent < 0 { b"e-" } else { b"e+" });
    out.bytes(Digits::of(exponent.unsigned_abs().into()).at_least(2));
}
