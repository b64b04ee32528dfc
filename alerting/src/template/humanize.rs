//! Numbers as people read them, exactly as Prometheus prints them.

use super::float;

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];

/// `%.4g`.
pub(super) fn four_digits(number: f64) -> String {
    float::write(number, 'g', Some(4))
}

/// Divides by `step` until what is left is below it; gives it and the last prefix.
fn scaled_down(mut number: f64, step: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut last = "";
    for prefix in prefixes {
        if number.abs() < step {
            break;
        }
        last = prefix;
        number /= step;
    }
    (number, last)
}

fn scaled_up(mut number: f64) -> (f64, &'static str) {
    let mut last = "";
    for prefix in SMALL {
        if number.abs() >= 1.0 {
            break;
        }
        last = prefix;
        number *= 1000.0;
    }
    (number, last)
}

/// With a prefix of thousands: `1.235T`, `12.34u`.
pub(super) fn decimal(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return four_digits(number);
    }
    let (number, prefix) = if number.abs() >= 1.0 { scaled_down(number, 1000.0, &LARGE) } else { scaled_up(number) };
    format!("{}{prefix}", four_digits(number))
}

/// With a prefix of 1024s: `1.5Gi`.
pub(super) fn binary(number: f64) -> String {
    if number.abs() <= 1.0 || !number.is_finite() {
        return four_digits(number);
    }
    let (number, prefix) = scaled_down(number, 1024.0, &BINARY);
    format!("{}{prefix}", four_digits(number))
}

/// Seconds as `1d 2h 3m 4s`, or with a prefix below one.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return four_digits(seconds);
    }
    if seconds == 0.0 {
        return format!("{}s", four_digits(seconds));
    }
    if seconds.abs() < 1.0 {
        let (seconds, prefix) = scaled_up(seconds);
        return format!("{}{prefix}s", four_digits(seconds));
    }
    let sign = if seconds < 0.0 { "-" } else { "" };
    let seconds = seconds.abs();
    // What does not fit is what Prometheus has then: the least number there is.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the range is asked for")]
    let whole = if seconds < i64::MAX as f64 { seconds as i64 } else { i64::MIN };
    let (days, hours, minutes, rest) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four_digits(seconds)),
        (0, 0, _) => format!("{sign}{minutes}m {rest}s"),
        (0, _, _) => format!("{sign}{hours}h {minutes}m {rest}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {rest}s"),
    }
}

/// A share of one as percents: `12.34%`.
pub(super) fn percentage(number: f64) -> String {
    format!("{}%", four_digits(number * 100.0))
}
