//! Times as the API has them: RFC 3339, written in UTC with milliseconds.
//!
//! Invariant: the zero time of Go, which clients send for what they leave out, is no time.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The beginning of the year 1, in milliseconds.
const ZERO_MS: i64 = -62_135_596_800_000;

/// Milliseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = DateTime::from_timestamp_millis(self.0).unwrap_or_default();
        serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        read(&text).map_err(de::Error::custom)
    }
}

fn read(text: &str) -> Result<Time, String> {
    let time = DateTime::parse_from_rfc3339(text);
    let time = time.map_err(|_| format!("`{text}` is no time such as 2026-01-31T23:59:59.000Z"))?;
    Ok(Time(time.timestamp_millis()))
}

/// Reads a time that may be left out.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let Time(ms) = read(&text).map_err(de::Error::custom)?;
    Ok((ms > ZERO_MS).then_some(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_and_read_in_any_zone() {
        let Time(ms) = serde_json::from_str("\"2026-12-30T10:00:00.5+01:00\"").unwrap();
        assert_eq!(serde_json::to_string(&Time(ms)).unwrap(), "\"2026-12-30T09:00:00.500Z\"");
        let nanoseconds: Time = serde_json::from_str("\"2026-12-30T09:00:00.500999999Z\"").unwrap();
        assert_eq!(nanoseconds, Time(ms));
        assert!(
            serde_json::from_str::<Time>("\"tomorrow\"").unwrap_err().to_string().contains("`tomorrow` is no time")
        );
    }

    #[test]
    fn the_zero_time_is_no_time() {
        for text in ["null", "\"\"", "\"0001-01-01T00:00:00Z\"", "\"0001-01-01T00:00:00.000Z\""] {
            assert_eq!(optional(&mut serde_json::Deserializer::from_str(text)).unwrap(), None, "{text}");
        }
        let read = optional(&mut serde_json::Deserializer::from_str("\"1970-01-01T00:00:01Z\"")).unwrap();
        assert_eq!(read, Some(1_000));
    }
}
