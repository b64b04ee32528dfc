//! Floats as Go's `strconv` writes them: the shortest digits that read back, or so many as are asked for.
//!
//! Called by `format` and by functions that humanize.

/// A float in one of the formats of Go: `e E f F g G x X`, without a plus sign. No precision is the shortest.
pub(super) fn write(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let value = value.abs();
    let body = match verb {
        'e' | 'E' => exponential(value, precision),
        'f' | 'F' => match precision {
            Some(precision) => format!("{value:.precision$}"),
            None => format!("{value}"),
        },
        'x' | 'X' => hexadecimal(value, precision),
        'b' => binary(value),
        _ => general(value, precision),
    };
    let body = if verb.is_ascii_uppercase() { body.to_ascii_uppercase() } else { body };
    format!("{sign}{body}")
}

/// Digits and the exponent of the first one.
fn digits(value: f64, precision: Option<usize>) -> (String, i32) {
    let written = match precision {
        Some(precision) => format!("{value:.precision$e}"),
        None => format!("{value:e}"),
    };
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

fn exponential(value: f64, precision: Option<usize>) -> String {
    let (digits, exponent) = digits(value, precision);
    with_exponent(&digits, exponent)
}

fn with_exponent(digits: &str, exponent: i32) -> String {
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{:02}", exponent.unsigned_abs())
}

fn general(value: f64, precision: Option<usize>) -> String {
    let precision = precision.map(|precision| precision.max(1));
    let (digits, exponent) = digits(value, precision.map(|precision| precision - 1));
    let digits = match digits.trim_end_matches('0') {
        "" => "0",
        trimmed => trimmed,
    };
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // The shortest form changes where six digits would.
    let mut limit = precision.map_or(6, |precision| i32::try_from(precision).unwrap_or(i32::MAX));
    if precision.is_some() && limit > count && count > exponent {
        limit = count;
    }
    if exponent < -4 || exponent >= limit {
        return with_exponent(digits, exponent);
    }
    plain(digits, exponent)
}

/// Digits with their point where the exponent puts it.
fn plain(digits: &str, exponent: i32) -> String {
    match usize::try_from(exponent) {
        Err(_) => format!("0.{}{digits}", "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0))),
        Ok(exponent) if digits.len() <= exponent + 1 => format!("{digits}{}", "0".repeat(exponent + 1 - digits.len())),
        Ok(exponent) => format!("{}.{}", &digits[..=exponent], &digits[exponent + 1..]),
    }
}

const MANTISSA: u64 = (1 << 52) - 1;

/// The mantissa with its hidden bit, and the exponent of its lowest bit.
fn parts(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let exponent = i32::try_from(bits >> 52 & 0x7ff).unwrap_or(0);
    if exponent == 0 { (bits & MANTISSA, -1074) } else { (bits & MANTISSA | 1 << 52, exponent - 1075) }
}

fn binary(value: f64) -> String {
    let (mantissa, exponent) = parts(value);
    format!("{mantissa}p{exponent:+}")
}

fn hexadecimal(value: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut exponent) = parts(value);
    if mantissa == 0 {
        exponent = 0;
    } else {
        let up = mantissa.leading_zeros() - 11;
        mantissa <<= up;
        exponent += 52 - i32::try_from(up).unwrap_or(0);
    }
    if let Some(precision) = precision.filter(|precision| *precision < 13) {
        let shift = 52 - 4 * precision;
        let half = 1u64 << (shift - 1);
        let below = mantissa & ((1 << shift) - 1);
        mantissa >>= shift;
        if below > half || (below == half && mantissa & 1 == 1) {
            mantissa += 1;
        }
        mantissa <<= shift;
        if mantissa >> 53 != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let first = mantissa >> 52;
    let rest = format!("{:013x}", mantissa & MANTISSA);
    let rest = match precision {
        None => rest.trim_end_matches('0').to_owned(),
        Some(precision) if precision <= rest.len() => rest[..precision].to_owned(),
        Some(precision) => format!("{rest}{}", "0".repeat(precision - rest.len())),
    };
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x{first}{point}{rest}p{sign}{:02}", exponent.unsigned_abs())
}
