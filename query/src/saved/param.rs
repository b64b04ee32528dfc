//! Types of parameters, and how what a client sends becomes a value of one.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use chrono::{DateTime, SecondsFormat};
use datafusion::{common::ScalarValue, sql::sqlparser::ast::Expr};

use super::{bind, invalid};
use crate::{
    Result,
    http::{duration_ms, time_ms},
};

/// Bytes of a value.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// Type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number of 64 bits.
    Integer,
    /// A decimal number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A day: `2026-11-22`, `now` or `now-30d`.
    Date,
    /// A time: RFC 3339, a day, seconds since 1970, `now` or `now-1h`.
    Timestamp,
    /// A duration: `1h`, seconds, or an interval of SQL such as `1 hour`.
    Interval,
}

/// A parameter of a saved query.
#[derive(Debug, Clone)]
pub struct Param {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: Kind,
    /// What it is if a request does not say; one without must be given.
    pub default: Option<String>,
    /// What it is for, for people.
    pub description: String,
}

impl Param {
    /// A parameter; its default is read as a request's value would be.
    ///
    /// # Errors
    /// `Invalid` if the default is no value of the type.
    pub fn new(name: &str, kind: Kind, default: Option<&str>, description: &str) -> Result<Self> {
        if let Some(default) = default {
            kind.value(name, default, 0)?;
        }
        let (name, description) = (name.to_owned(), description.to_owned());
        Ok(Self { name, kind, default: default.map(str::to_owned), description })
    }
}

impl Kind {
    /// Every type.
    pub const ALL: [Self; 7] =
        [Self::Text, Self::Integer, Self::Number, Self::Boolean, Self::Date, Self::Timestamp, Self::Interval];

    /// Its name in settings and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
            Self::Interval => "interval",
        }
    }

    /// The type of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// A value of the type, to plan with.
    pub(super) const fn example(self) -> &'static str {
        match self {
            Self::Text => "example",
            Self::Integer | Self::Number => "1",
            Self::Boolean => "true",
            Self::Date | Self::Timestamp => "now-1h",
            Self::Interval => "1h",
        }
    }

    /// A value as it stands in a statement; `now` is a time in microseconds.
    pub(super) fn value(self, name: &str, written: &str, now_us: i64) -> Result<Expr> {
        if written.len() > VALUE_BYTES_MAX {
            let bytes = written.len();
            return Err(invalid(format!("a value is too long name={name} bytes={bytes} bytes_max={VALUE_BYTES_MAX}")));
        }
        let wrong = |how: &str| {
            let kind = self.name();
            invalid(format!("parameter {name} is no {kind}: write {how} value={written:?}"))
        };
        match self {
            Self::Text => Ok(bind::text(written)),
            Self::Integer => match written.parse::<i64>() {
                Ok(integer) => bind::number(&integer.to_string()),
                Err(_) => Err(wrong("a whole number such as 10")),
            },
            Self::Number if is_number(written) => bind::number(written),
            Self::Number => Err(wrong("a number such as 0.5")),
            Self::Boolean => match written {
                "true" => Ok(bind::boolean(true)),
                "false" => Ok(bind::boolean(false)),
                _ => Err(wrong("true or false")),
            },
            Self::Date | Self::Timestamp => {
                let how = "2026-11-22, 2026-11-22T10:00:00Z, now or now-30d";
                let time =
                    ms_of(written, now_us).and_then(DateTime::from_timestamp_millis).ok_or_else(|| wrong(how))?;
                match self {
                    Self::Date => bind::typed("DATE", &time.date_naive().to_string()),
                    _ => bind::typed("TIMESTAMP WITH TIME ZONE", &time.to_rfc3339_opts(SecondsFormat::Millis, true)),
                }
            }
            Self::Interval => {
                if let Ok(ms) = duration_ms(name, written) {
                    return bind::typed("INTERVAL", &format!("{ms} milliseconds"));
                }
                let interval = DataType::Interval(IntervalUnit::MonthDayNano);
                match ScalarValue::from(written).cast_to(&interval) {
                    Ok(value) if !value.is_null() => bind::typed("INTERVAL", written),
                    _ => Err(wrong("1h, 30d or '1 month'")),
                }
            }
        }
    }
}

/// Digits with at most one point and a sign.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let is_framed = digits.starts_with(|c: char| c.is_ascii_digit()) && digits.ends_with(|c: char| c.is_ascii_digit());
    // The longest exact number has 76 digits.
    is_plain && is_framed && digits.len() <= 80 && text.parse::<f64>().is_ok()
}

/// Milliseconds since 1970 of a time that may be told from now.
fn ms_of(written: &str, now_us: i64) -> Option<i64> {
    if let Some(before) = written.strip_prefix("now") {
        let now_ms = now_us.div_euclid(1000);
        return match before.strip_prefix('-') {
            Some(duration) => now_ms.checked_sub(duration_ms("now", duration).ok()?),
            None if before.is_empty() => Some(now_ms),
            None => None,
        };
    }
    if let Ok(ms) = time_ms("time", written) {
        return Some(ms);
    }
    match ScalarValue::from(written).cast_to(&DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))) {
        Ok(ScalarValue::TimestampMillisecond(ms, _)) => ms,
        _ => None,
    }
}
