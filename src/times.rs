//! Times and ranges of time: read from the command line, cut into slices, printed.
//!
//! Called by commands. All times are milliseconds since the epoch, ranges half open.

use std::ops::Range;

use chrono::{DateTime, SecondsFormat};

/// A day, which is also what a partition of the server's tables holds.
pub(crate) const DAY_MS: i64 = 86_400_000;

/// A time as RFC 3339 or in seconds since 1970.
///
/// # Errors
/// If it is neither.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_millis());
    }
    let wrong = || "no time: write 2026-01-31T00:00:00Z or seconds since 1970".to_owned();
    let ms = text.parse::<f64>().map_err(|_| wrong())? * 1000.0;
    if !ms.is_finite() || ms.abs() > 253_402_300_800_000.0 {
        return Err("no time before the year 10000: are these milliseconds? Write seconds".to_owned());
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked above")]
    Ok(ms.round() as i64)
}

/// The parts of a range between multiples of `step_ms`, oldest first.
pub(crate) fn slices(times_ms: Range<i64>, step_ms: i64) -> impl Iterator<Item = Range<i64>> {
    let mut start = times_ms.start;
    std::iter::from_fn(move || {
        (start < times_ms.end).then(|| {
            let end = (start.div_euclid(step_ms) + 1).saturating_mul(step_ms).min(times_ms.end);
            std::mem::replace(&mut start, end)..end
        })
    })
}

/// What two ranges have in common; empty if nothing.
pub(crate) fn common(a: &Range<i64>, b: &Range<i64>) -> Range<i64> {
    a.start.max(b.start)..a.end.min(b.end)
}

/// How long a range is; 0 if it is empty.
#[expect(clippy::cast_precision_loss, reason = "for shares only")]
pub(crate) fn length(times_ms: &Range<i64>) -> f64 {
    times_ms.end.saturating_sub(times_ms.start).max(0) as f64
}

/// A time for people.
pub(crate) fn show(ms: i64) -> String {
    let time = DateTime::from_timestamp_millis(ms);
    time.map_or_else(|| format!("{ms} ms"), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// A length of time for people.
pub(crate) fn show_seconds(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let seconds = seconds.clamp(0.0, 1e9) as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_or_seconds() {
        assert_eq!(parse("1970-01-01T00:00:01.5Z"), Ok(1500));
        assert_eq!(parse("2026-01-01T01:00:00+01:00"), parse("1767225600"));
        assert_eq!(parse("1.25"), Ok(1250));
        for wrong in ["", "yesterday", "1767225600000000", "inf", "NaN"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn slices_cover_the_range_and_break_at_multiples() {
        let of = |range| slices(range, 10).collect::<Vec<_>>();
        assert_eq!(of(-5..25), [-5..0, 0..10, 10..20, 20..25]);
        assert_eq!(of(10..20), vec![10..20]);
        assert_eq!(of(3..3), []);
        assert_eq!(slices(i64::MAX - 3..i64::MAX, 10).count(), 1);
    }
}
