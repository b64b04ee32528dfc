//! Exact whole numbers of 256 bits: powers of ten, division with rounding, text.
//!
//! Called by all of `decimal`. A decimal is a whole number and a scale; what is done to scales is decided by the callers.
//!
//! Invariants: nothing wraps: what does not fit is `None`; what is rounded is rounded to the nearest, halves to even, so that sums of
//! rounded values do not drift.

use arrow::datatypes::i256;

/// Digits that a value of 128 bits may have.
pub(crate) const DIGITS_MAX: u8 = 38;
/// Digits that a value of 256 bits may have.
pub(super) const WIDE_DIGITS_MAX: u8 = 76;

/// Ten to a power, if 256 bits hold it: up to 76.
pub(super) fn power(exponent: u32) -> Option<i256> {
    if exponent > u32::from(WIDE_DIGITS_MAX) { None } else { i256::from_i128(10).checked_pow(exponent) }
}

/// Ten to a power, if 128 bits hold it: up to 38.
pub(super) fn narrow_power(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// Does a value have at most `digits` digits?
pub(super) fn fits(value: i256, digits: u8) -> bool {
    power(u32::from(digits)).is_none_or(|limit| value < limit && value > -limit)
}

/// A value of at most `digits` digits in 128 bits.
pub(crate) fn narrow(value: i256, digits: u8) -> Option<i128> {
    let value = value.to_i128()?;
    let limit = narrow_power(u32::from(digits.min(DIGITS_MAX)))?;
    (value < limit && value > -limit).then_some(value)
}

/// `value / divisor`, rounded to the nearest, halves to even.
pub(super) fn divide_rounded(value: i256, divisor: i256) -> Option<i256> {
    let (quotient, rest) = divide(value, divisor)?;
    round(quotient, rest, divisor)
}

/// The same of 128 bits.
pub(super) fn divide_rounded_narrow(value: i128, divisor: i128) -> Option<i128> {
    let (quotient, rest) = (value.checked_div(divisor)?, value.checked_rem(divisor)?);
    let (rest_abs, half) = (rest.unsigned_abs(), divisor.unsigned_abs() - rest.unsigned_abs());
    // The rest against what it lacks, since twice the rest may not fit.
    let up = rest_abs > half || (rest_abs == half && rest_abs != 0 && quotient % 2 != 0);
    let step = if (value < 0) == (divisor < 0) { 1 } else { -1 };
    if up { quotient.checked_add(step) } else { Some(quotient) }
}

/// `value * 10^exponent / divisor`, rounded, though the product may not fit in 256 bits.
pub(super) fn divide_scaled(value: i256, divisor: i256, exponent: u32) -> Option<i256> {
    // Long division, 38 digits at a time: a rest is less than a divisor of 38 digits, so what is divided has 76 at most.
    let (mut quotient, mut rest) = divide(value, divisor)?;
    let mut left = exponent;
    while left > 0 {
        let digits = left.min(u32::from(DIGITS_MAX));
        let step = power(digits)?;
        let (more, next) = divide(rest.checked_mul(step)?, divisor)?;
        quotient = quotient.checked_mul(step)?.checked_add(more)?;
        rest = next;
        left -= digits;
    }
    // A quotient of zero has no sign, so the sign of the whole is that of the operands.
    round_signed(quotient, rest, divisor, (value < i256::ZERO) != (divisor < i256::ZERO))
}

/// A value of one scale in another one.
pub(crate) fn rescale(value: i256, from: i8, to: i8) -> Option<i256> {
    let by = i16::from(to) - i16::from(from);
    let step = power(u32::from(by.unsigned_abs()));
    match (by < 0, step) {
        (true, Some(step)) => divide_rounded(value, step),
        // Less than half of the least digit that is kept.
        (true, None) => Some(i256::ZERO),
        (false, Some(step)) => value.checked_mul(step),
        (false, None) => (value == i256::ZERO).then_some(i256::ZERO),
    }
}

/// Quotient and rest; a multiplication is a tenth of a second division.
fn divide(value: i256, divisor: i256) -> Option<(i256, i256)> {
    let quotient = value.checked_div(divisor)?;
    Some((quotient, value.wrapping_sub(quotient.wrapping_mul(divisor))))
}

fn round(quotient: i256, rest: i256, divisor: i256) -> Option<i256> {
    round_signed(quotient, rest, divisor, (rest < i256::ZERO) != (divisor < i256::ZERO))
}

fn round_signed(quotient: i256, rest: i256, divisor: i256, negative: bool) -> Option<i256> {
    let (rest, divisor) = (rest.checked_abs()?, divisor.checked_abs()?);
    let lacks = divisor.checked_sub(rest)?;
    let is_odd = quotient.to_parts().0 & 1 == 1;
    if rest > lacks || (rest == lacks && is_odd) {
        let step = i256::from_i128(if negative { -1 } else { 1 });
        return quotient.checked_add(step);
    }
    Some(quotient)
}

/// Why a text is no value of a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is no number.
    Malformed,
    /// It has too many digits before the point.
    TooLarge,
}

/// Reads a number, `-1.5` or `1.81E-8`, as a value of `scale`; digits beyond are rounded.
pub(super) fn parse(text: &str, scale: i8) -> Result<i256, Unread> {
    let text = text.trim();
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().map_err(|_| Unread::Malformed)?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes().first() {
        Some(b'-') => (true, &mantissa[1..]),
        Some(b'+') => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let bytes = whole.bytes().chain(part.bytes());
    if whole.len() + part.len() == 0 || !bytes.clone().all(|b| b.is_ascii_digit()) {
        return Err(Unread::Malformed);
    }
    // Digits that are kept: those before the point, moved by the exponent, and `scale` more.
    let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
    let kept = length(whole).saturating_add(i64::from(exponent)).saturating_add(i64::from(scale));
    let mut value = i256::ZERO;
    let (mut first_cut, mut more_cut) = (0, false);
    for (at, byte) in (0_i64..).zip(bytes) {
        let digit = byte - b'0';
        if at < kept {
            value = append(value, digit)?;
        } else if at == kept {
            first_cut = digit;
        } else {
            more_cut |= digit != 0;
        }
    }
    for _ in length(whole) + length(part)..kept {
        if value == i256::ZERO {
            break;
        }
        value = append(value, 0)?;
    }
    let is_odd = value.to_parts().0 & 1 == 1;
    if first_cut > 5 || (first_cut == 5 && (more_cut || is_odd)) {
        value = value.checked_add(i256::ONE).ok_or(Unread::TooLarge)?;
    }
    Ok(if negative { -value } else { value })
}

fn append(value: i256, digit: u8) -> Result<i256, Unread> {
    let next = value.checked_mul(i256::from_i128(10)).and_then(|v| v.checked_add(i256::from_i128(i128::from(digit))));
    next.filter(|v| fits(*v, WIDE_DIGITS_MAX)).ok_or(Unread::TooLarge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(value: i128) -> i256 {
        i256::from_i128(value)
    }

    #[test]
    fn halves_are_rounded_to_even() {
        for (value, divisor, expected) in [
            (25, 10, 2),
            (35, 10, 4),
            (-25, 10, -2),
            (-35, 10, -4),
            (35, -10, -4),
            (26, 10, 3),
            (-26, 10, -3),
            (5, 10, 0),
            (-6, 10, -1),
            (4, 10, 0),
            (7, 1, 7),
        ] {
            assert_eq!(divide_rounded(wide(value), wide(divisor)), Some(wide(expected)), "{value} / {divisor}");
            assert_eq!(divide_rounded_narrow(value, divisor), Some(expected), "{value} / {divisor}");
            assert_eq!(divide_scaled(wide(value), wide(divisor), 0), Some(wide(expected)), "{value} / {divisor}");
        }
        assert_eq!(divide_scaled(wide(-2), wide(3), 0), Some(wide(-1)));
        assert_eq!(divide_scaled(wide(-1), wide(3), 40), Some(-power(40).unwrap() / wide(3)));
        assert_eq!(divide_rounded(wide(1), i256::ZERO), None);
    }

    #[test]
    fn text_is_read_to_the_last_digit() {
        for (text, scale, expected) in [
            ("1.81E-8", 22, 181_000_000_000_000),
            ("-1.81e-8", 10, -181),
            ("0.125", 2, 12),
            ("0.135", 2, 14),
            ("0.1250001", 2, 13),
            ("+3", 0, 3),
            (".5", 1, 5),
            ("5.", 1, 50),
            ("1e3", 0, 1000),
            ("1e-400", 5, 0),
            ("0e400", 5, 0),
            ("99.999", 1, 1000),
        ] {
            assert_eq!(parse(text, scale), Ok(wide(expected)), "{text}");
        }
        for text in ["", ".", "-", "1.2.3", "1e", "e5", "1e5.5", "0x1", "1 2", "NaN"] {
            assert_eq!(parse(text, 2), Err(Unread::Malformed), "{text}");
        }
        assert_eq!(parse("1e400", 2), Err(Unread::TooLarge));
    }

    #[test]
    fn scales_change_without_a_loss_that_is_not_told() {
        assert_eq!(rescale(wide(15), 1, 0), Some(wide(2)));
        assert_eq!(rescale(wide(15), 0, 2), Some(wide(1500)));
        assert_eq!(rescale(power(70).unwrap(), 0, 10), None);
        assert_eq!(narrow(power(38).unwrap(), 38), None);
        assert_eq!(narrow(power(38).unwrap() - i256::ONE, 38), Some(10_i128.pow(38) - 1));
    }
}
