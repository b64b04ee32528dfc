//! Arguments of calls: expressions without columns, which planning has made values of.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::{common::ScalarValue, logical_expr::Expr};

use super::invalid;
use crate::{
    Result,
    http::{duration_ms, time_ms as time_of_text},
};

/// A text that is written in the statement.
pub(super) fn literal_text<'a>(what: &str, expr: &'a Expr) -> Result<&'a str> {
    let text = expr.as_literal().and_then(|value| value.try_as_str().flatten());
    text.ok_or_else(|| invalid(format!("{what} must be a text in single quotes")))
}

/// A time, milliseconds since 1970: a timestamp, a date, a text of either, or seconds since 1970.
pub(super) fn time_ms(name: &str, expr: &Expr) -> Result<i64> {
    let value = value(name, expr)?;
    let wrong = || {
        invalid(format!(
            "{name} is no time: write now() - interval '1 hour', '2026-11-22T00:00:00Z' or seconds since 1970 {name}={value}"
        ))
    };
    let number_or_rfc3339 = match (value.try_as_str().flatten(), value.data_type().is_numeric()) {
        (Some(text), _) => time_of_text(name, text).ok(),
        (None, true) => Some(time_of_text(name, &value.to_string()).map_err(|_| wrong())?),
        (None, false) => None,
    };
    if let Some(ms) = number_or_rfc3339 {
        return Ok(ms);
    }
    match value.cast_to(&DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))) {
        Ok(ScalarValue::TimestampMillisecond(Some(ms), _)) => Ok(ms),
        _ => Err(wrong()),
    }
}

/// The time between two steps, milliseconds: an interval, a text such as `1m`, or seconds.
pub(super) fn step_ms(expr: &Expr) -> Result<i64> {
    let value = value("step", expr)?;
    let wrong = || invalid(format!("step is no duration: write interval '1 minute', '1m' or seconds step={value}"));
    let number_or_duration = match (value.try_as_str().flatten(), value.data_type().is_numeric()) {
        (Some(text), _) => duration_ms("step", text).ok(),
        (None, true) => Some(duration_ms("step", &value.to_string()).map_err(|_| wrong())?),
        (None, false) => None,
    };
    let ms = match number_or_duration {
        Some(ms) => ms,
        None => match value.cast_to(&DataType::Interval(IntervalUnit::MonthDayNano)) {
            Ok(ScalarValue::IntervalMonthDayNano(Some(interval))) if interval.months != 0 => {
                return Err(invalid("months differ in length: write the step in days or less"));
            }
            Ok(ScalarValue::IntervalMonthDayNano(Some(interval))) => {
                i64::from(interval.days) * 86_400_000 + interval.nanoseconds / 1_000_000
            }
            _ => return Err(wrong()),
        },
    };
    if ms <= 0 {
        return Err(invalid(format!("step must be at least a millisecond step={value}")));
    }
    Ok(ms)
}

fn value<'a>(name: &str, expr: &'a Expr) -> Result<&'a ScalarValue> {
    match expr {
        Expr::Literal(value, _) if !value.is_null() => Ok(value),
        Expr::Literal(..) => Err(invalid(format!("{name} is NULL"))),
        _ => Err(invalid(format!(
            "{name} must be known before anything is read: a value, or one computed of values and now() {name}={expr}"
        ))),
    }
}
