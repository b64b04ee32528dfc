//! Parameters as Prometheus' endpoints over series take them: `match[]`, `start` and `end`, in the URL or in a form.
//!
//! Called by [`series`](super::series) and by the endpoint that deletes. Invariant: what is there and cannot be read is an error
//! that names the parameter; parameters of other names are handed back, for the endpoint to take or to refuse.

use std::ops::Range;

use axum::http::{HeaderMap, header};
use chrono::DateTime;

use crate::{Error, ErrorKind, Result, Selector};

/// Selectors of one request.
const SELECTORS_MAX: usize = 100;

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    /// Series of any of these.
    pub selectors: Vec<Selector>,
    /// Microseconds, half-open; all of time if nothing is said.
    pub times_us: Range<i64>,
    /// Other parameters in the order in which they came.
    pub rest: Vec<(String, String)>,
}

impl Asked {
    /// Reads the parameters; those of the body come before those of the URL, as Prometheus has it.
    ///
    /// # Errors
    /// `Invalid`, with the parameter's name; with a position if it is about a selector.
    pub fn read(headers: &HeaderMap, body: &[u8], query: Option<&str>) -> Result<Self> {
        let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim();
        let form: &[u8] = if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") { body } else { &[] };
        Self::parse(form, query.unwrap_or_default().as_bytes())
    }

    /// The same, from the two texts.
    ///
    /// # Errors
    /// As [`Asked::read`].
    pub fn parse(form: &[u8], query: &[u8]) -> Result<Self> {
        let (mut selectors, mut start, mut end, mut rest) = (Vec::new(), None, None, Vec::new());
        for (name, value) in form_urlencoded::parse(form).chain(form_urlencoded::parse(query)) {
            match name.as_ref() {
                "match[]" if selectors.len() == SELECTORS_MAX => {
                    return Err(invalid(format!(
                        "too many selectors; send several requests match_max={SELECTORS_MAX}"
                    )));
                }
                "match[]" => selectors.push(selector(&value)?),
                "start" => start = start.or(Some(time_ns("start", &value)?)),
                "end" => end = end.or(Some(time_ns("end", &value)?)),
                _ => rest.push((name.into_owned(), value.into_owned())),
            }
        }
        if let (Some(start), Some(end)) = (start, end)
            && start > end
        {
            return Err(invalid("end is before start".to_owned()));
        }
        // Both ends are included, and a row between two microseconds there is not.
        let us = |ns: i128| i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX });
        let start_us = start.map_or(i64::MIN, |ns| us(-(-ns).div_euclid(1000)));
        let end_us = end.map_or(i64::MAX, |ns| us(ns.div_euclid(1000)).saturating_add(1));
        Ok(Self { selectors, times_us: start_us..end_us, rest })
    }

    /// The first value of another parameter.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&str> {
        self.rest.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

fn selector(text: &str) -> Result<Selector> {
    Selector::parse(text).map_err(|error| invalid(format!("match[]={text:?}: {error}")).at(error.position))
}

/// A time as nanoseconds since the epoch: RFC 3339, or seconds with a fraction.
fn time_ns(name: &str, text: &str) -> Result<i128> {
    let wrong = || {
        let wanted = "a time is seconds since 1970, such as 1795305600.5, or RFC 3339, such as 2026-11-22T00:00:00Z";
        invalid(format!("{name} cannot be read; {wanted} {name}={text:?}"))
    };
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos()));
    }
    let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.is_finite()).ok_or_else(wrong)?;
    // A double has no more of a time of today than fractions of a microsecond. The cast saturates.
    #[allow(clippy::cast_possible_truncation, reason = "times beyond are the ends of time")]
    Ok(i128::from((seconds * 1e6).round() as i64) * 1000)
}

fn invalid(message: String) -> Error {
    Error::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(query: &str) -> Range<i64> {
        Asked::parse(b"", format!("match[]=up&{query}").as_bytes()).unwrap().times_us
    }

    #[test]
    fn times_are_seconds_or_dates_and_both_ends_are_included() {
        assert_eq!(times(""), i64::MIN..i64::MAX);
        assert_eq!(times("start=1&end=1"), 1_000_000..1_000_001);
        assert_eq!(times("start=1795305600.123&end=1795305600.123"), 1_795_305_600_123_000..1_795_305_600_123_001);
        assert_eq!(times("start=2026-11-22T00:00:00Z"), 1_795_305_600_000_000..i64::MAX);
        assert_eq!(times("end=2026-11-22T02:00:00.5%2B02:00"), i64::MIN..1_795_305_600_500_001);
        // Between two microseconds nothing outside of what was asked for is hit.
        assert_eq!(times("start=1970-01-01T00:00:00.0000015Z&end=1970-01-01T00:00:00.0000025Z"), 2..3);
        assert_eq!(times("start=-1e300&end=1e300"), i64::MIN..i64::MAX);
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for query in ["start=2&end=1", "start=", "start=yesterday", "start=NaN", "match[]=up{", "match[]={job=~\".*\"}"]
        {
            assert!(Asked::parse(b"", query.as_bytes()).is_err(), "{query}");
        }
        let many = "match[]=up&".repeat(SELECTORS_MAX + 1);
        assert!(Asked::parse(many.as_bytes(), b"").is_err());
    }

    #[test]
    fn body_and_url_are_read_together_and_the_body_goes_first() {
        let asked =
            Asked::parse(b"match[]=up&start=2&limit=1", b"start=1&match%5B%5D=%7Ba%3D%22b%22%7D&limit=2").unwrap();
        assert_eq!(asked.selectors.len(), 2);
        assert_eq!(asked.times_us.start, 2_000_000);
        assert_eq!(asked.other("limit"), Some("1"));
        assert_eq!(asked.other("begin"), None);
    }
}
