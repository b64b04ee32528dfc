//! Numbers as texts, as Go writes them and so Prometheus shows them.
//!
//! Called by the printers of queries and histograms, by annotations, and by the endpoints. Digits are always the shortest that read
//! back the same; the ways differ in from where on there is an exponent. Spec: <https://pkg.go.dev/strconv#FormatFloat>

use std::ops::Range;

/// A number as the HTTP API writes it: with an exponent below 1e-6 and from 1e21 on.
#[must_use]
pub fn format_float(value: f64) -> String {
    let mut out = String::new();
    push_float(&mut out, value);
    out
}

/// Appends a number as [`format_float`] writes it. Answers are made of little else.
pub fn push_float(out: &mut String, value: f64) {
    // Within these, the crate writes no exponent either.
    if (1e-5..1e15).contains(&value.abs()) {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value);
        out.push_str(text.strip_suffix(".0").unwrap_or(text));
    } else if value == 0.0 {
        out.push_str(if value.is_sign_negative() { "-0" } else { "0" });
    } else {
        out.push_str(&shortest(value, -6..21));
    }
}

/// A number as Go's `%v` and `%g` write it, and with it the text formats of metrics: with an exponent below 1e-4 and from 1e6 on.
#[must_use]
pub fn short(value: f64) -> String {
    shortest(value, -4..6)
}

/// A number without an exponent, as Prometheus writes scalars.
#[must_use]
pub fn plain(value: f64) -> String {
    shortest(value, i32::MIN..i32::MAX)
}

/// A number with two digits, as Go's `%.2g` writes it.
pub(crate) fn two_digits(value: f64) -> String {
    let rounded = if value.is_finite() { format!("{value:.1e}").parse().unwrap_or(value) } else { value };
    shortest(rounded, -4..2)
}

/// The shortest digits that read back the same, without an exponent if it is one of these. Where two texts are as short and as near, Go
/// takes the one that ends in an even digit; so does the crate, and the standard library does not.
fn shortest(value: f64, plain_exponents: Range<i32>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return infinite(value).to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(value.abs());
    let (mantissa, power) = text.split_once('e').map_or((text, 0), |(m, e)| (m, e.parse::<i32>().unwrap_or(0)));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("{whole}{part}");
    let significant = all.trim_start_matches('0');
    let zeros = all.len() - significant.len();
    let digits = significant.trim_end_matches('0');
    if digits.is_empty() {
        return format!("{sign}0");
    }
    // Of the first digit.
    let length = |of: usize| i32::try_from(of).unwrap_or(i32::MAX);
    let exponent = length(whole.len()) - 1 - length(zeros) + power;
    if !plain_exponents.contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let of = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{first}{point}{rest}e{of}{:02}", exponent.abs());
    }
    let Ok(places) = usize::try_from(exponent + 1) else {
        let zeros = usize::try_from(-exponent - 1).unwrap_or(0);
        return format!("{sign}0.{}{digits}", "0".repeat(zeros));
    };
    match digits.split_at_checked(places) {
        Some(("", part)) => format!("{sign}0.{part}"),
        Some((whole, part)) if !part.is_empty() => format!("{sign}{whole}.{part}"),
        _ => format!("{sign}{digits}{}", "0".repeat(places - digits.len())),
    }
}

fn infinite(value: f64) -> &'static str {
    if value > 0.0 { "+Inf" } else { "-Inf" }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (number, v, api) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (-1.5, "-1.5", "-1.5"),
            (100_000.0, "100000", "100000"),
            (999_999.5, "999999.5", "999999.5"),
            (1_000_000.0, "1e+06", "1000000"),
            (123_456_789.0, "1.23456789e+08", "123456789"),
            (1e21, "1e+21", "1e+21"),
            (0.0001, "0.0001", "0.0001"),
            (0.000_012_5, "1.25e-05", "0.0000125"),
            (1e-7, "1e-07", "1e-07"),
            (-1e-128, "-1e-128", "-1e-128"),
            // As near to both, and the even digit is taken.
            (1_281_419_087_720_310.2, "1.2814190877203102e+15", "1281419087720310.2"),
            (f64::MAX, "1.7976931348623157e+308", "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NEG_INFINITY, "-Inf", "-Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!((short(number).as_str(), format_float(number).as_str()), (v, api));
        }
        assert_eq!(plain(1e22), "10000000000000000000000");
        assert_eq!(plain(f64::NEG_INFINITY), "-Inf");
        assert_eq!(plain(-1e-7), "-0.0000001");
    }

    proptest! {
        #[test]
        fn all_numbers_are_written_by_one_rule(bits: u64, decimal in -20i32..20, digits in 0u32..1_000_000) {
            for value in [f64::from_bits(bits), f64::from(digits) * 10f64.powi(decimal), -f64::from(digits), 9e14 + 0.5] {
                prop_assert_eq!(format_float(value), shortest(value, -6..21));
            }
        }
    }

    #[test]
    fn two_digits_are_rounded_ones() {
        for (number, text) in [
            (0.0, "0"),
            (1.25, "1.2"),
            (9.96, "10"),
            (99.6, "1e+02"),
            (120.0, "1.2e+02"),
            (0.000_12, "0.00012"),
            (0.000_012_3, "1.2e-05"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(two_digits(number), text);
        }
    }
}
