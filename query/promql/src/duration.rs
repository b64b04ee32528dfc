//! Durations: as text, as milliseconds, and computed.
//!
//! The parser reads literals with [`read`], the evaluator asks what a range, a step or an offset comes to once it knows the step
//! and the range of the query, the printer writes with [`format()`]. Prometheus computes in seconds and cuts to milliseconds.

use super::{
    ast::{Duration, DurationNode, Operator},
    wrong::Wrong,
};

/// The units, the largest first, and their milliseconds. Years and weeks ignore the calendar.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

const NANOSECONDS: i64 = 1_000_000;

/// Milliseconds of a duration: numbers with units, larger ones first, each at most once; or `0`.
///
/// # Errors
/// `Invalid`, with what Prometheus says of it.
pub fn parse_duration(text: &str) -> crate::Result<i64> {
    read(text).map_err(|message| crate::Error::new(crate::ErrorKind::Invalid, message))
}

/// Milliseconds of a duration, or what Prometheus says of it.
pub(super) fn read(text: &str) -> Result<i64, String> {
    const OUT_OF_RANGE: &str = "duration out of range";
    let malformed = || format!("not a valid duration string: {}", super::literal::quoted(text));
    match text {
        "" => return Err("empty duration string".to_owned()),
        "0" => return Ok(0),
        _ => {}
    }
    let (mut total_ms, mut rest, mut units) = (0_i64, text, UNITS.as_slice());
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
        let (unit, after) = after.split_at(after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len()));
        let number: u64 = number.parse().map_err(|_| malformed())?;
        if unit.is_empty() {
            return Err(malformed());
        }
        let Some((_, unit_ms)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            let (unit, text) = (super::literal::quoted(unit), super::literal::quoted(text));
            return Err(format!("unknown unit {unit} in duration {text}"));
        };
        let Some(at) = units.iter().position(|(name, _)| *name == unit) else { return Err(malformed()) };
        units = &units[at + 1..];
        total_ms = i64::try_from(number)
            .ok()
            .and_then(|number| number.checked_mul(*unit_ms))
            .and_then(|part_ms| part_ms.checked_add(total_ms))
            // Prometheus counts nanoseconds.
            .filter(|total_ms| total_ms.checked_mul(NANOSECONDS).is_some())
            .ok_or(OUT_OF_RANGE)?;
        rest = after;
    }
    Ok(total_ms)
}

#[expect(clippy::cast_precision_loss, reason = "three hundred years of milliseconds fit")]
pub(super) fn seconds(milliseconds: i64) -> f64 {
    milliseconds as f64 / 1000.0
}

/// Writes milliseconds as a duration: `1h30m`. Years and weeks only if nothing is left, as 90 days are easier to read than 12
/// weeks and 6 days.
#[must_use]
pub fn format(milliseconds: i64) -> String {
    let mut out = String::from(if milliseconds < 0 { "-" } else { "" });
    let mut rest = milliseconds.unsigned_abs();
    if rest == 0 {
        return "0s".to_owned();
    }
    for (unit, unit_ms) in UNITS {
        let unit_ms = unit_ms.unsigned_abs();
        let is_skipped = matches!(unit, "y" | "w") && !rest.is_multiple_of(unit_ms);
        if rest >= unit_ms && !is_skipped {
            out.push_str(&format!("{}{unit}", rest / unit_ms));
            rest %= unit_ms;
        }
    }
    out
}

/// The milliseconds of a literal, as Prometheus gets them by way of nanoseconds.
#[expect(clippy::cast_possible_truncation, reason = "the parser has checked that the nanoseconds fit")]
pub(super) fn literal_ms(seconds: f64) -> i64 {
    (seconds * 1e9).round() as i64 / NANOSECONDS
}

impl Duration {
    /// Seconds of an offset in a query with this step and range.
    pub(crate) fn seconds(&self, step_ms: i64, range_ms: i64) -> Result<f64, Wrong> {
        const SECONDS_MAX: f64 = i64::MAX as f64 / 1e9;
        let seconds = self.evaluate(seconds(step_ms), seconds(range_ms))?;
        if !seconds.is_finite() {
            return Err(Wrong::new("duration is NaN or infinite", self.span));
        }
        if seconds.abs() > SECONDS_MAX {
            return Err(Wrong::new("duration is out of range", self.span));
        }
        Ok(seconds)
    }

    /// Seconds of a range or a step, which must be positive.
    pub(crate) fn positive_seconds(&self, step_ms: i64, range_ms: i64) -> Result<f64, Wrong> {
        let seconds = self.seconds(step_ms, range_ms)?;
        if seconds <= 0.0 {
            return Err(Wrong::new("duration must be greater than 0", self.span));
        }
        Ok(seconds)
    }

    /// The milliseconds that Prometheus makes of this duration's seconds: it rounds literals and cuts what was computed.
    #[expect(clippy::cast_possible_truncation, reason = "that is how it is cut, and the seconds are in range")]
    pub(crate) fn milliseconds(&self, seconds: f64) -> i64 {
        match self.node {
            DurationNode::Literal { seconds, .. } => literal_ms(seconds),
            _ => (seconds * 1000.0) as i64,
        }
    }

    /// Does it depend on how long the range of the query is?
    pub(crate) fn asks_range(&self) -> bool {
        match &self.node {
            DurationNode::Literal { .. } | DurationNode::Step => false,
            DurationNode::Range => true,
            DurationNode::Paren(inner) | DurationNode::Unary { operand: inner, .. } => inner.asks_range(),
            DurationNode::Min(left, right)
            | DurationNode::Max(left, right)
            | DurationNode::Binary { left, right, .. } => left.asks_range() || right.asks_range(),
        }
    }

    fn evaluate(&self, step: f64, range: f64) -> Result<f64, Wrong> {
        let value = |duration: &Self| duration.evaluate(step, range);
        Ok(match &self.node {
            DurationNode::Literal { seconds, .. } => *seconds,
            DurationNode::Step => step,
            DurationNode::Range => range,
            DurationNode::Paren(inner) => value(inner)?,
            DurationNode::Unary { negative: true, operand } => -value(operand)?,
            DurationNode::Unary { negative: false, operand } => value(operand)?,
            DurationNode::Min(first, second) => lesser(value(first)?, value(second)?),
            DurationNode::Max(first, second) => -lesser(-value(first)?, -value(second)?),
            DurationNode::Binary { op, left, right } => {
                let (left, right) = (value(left)?, value(right)?);
                match op {
                    Operator::Add => left + right,
                    Operator::Sub => left - right,
                    Operator::Mul => left * right,
                    Operator::Div if right == 0.0 => return Err(Wrong::new("division by zero", self.span)),
                    Operator::Div => left / right,
                    Operator::Mod if right == 0.0 => return Err(Wrong::new("modulo by zero", self.span)),
                    Operator::Mod => left % right,
                    Operator::Pow => left.powf(right),
                    _ => {
                        let what = format!("unexpected duration expression operator \"{}\"", op.as_str());
                        return Err(Wrong::new(what, self.span));
                    }
                }
            }
        })
    }
}

/// The lesser of two values; NaN if one is, where `f64::min` ignores it.
fn lesser(left: f64, right: f64) -> f64 {
    if left.is_nan() || right.is_nan() { f64::NAN } else { left.min(right) }
}

#[cfg(test)]
mod tests;
