//! Parameters as Prometheus' endpoints over series take them: `match[]`, `start` and `end`, in the URL or in a form.
//!
//! Called by the endpoints, that which deletes among them. Invariant: what is there and cannot be read is an error
//! that names the parameter; parameters of other names are handed back, for the endpoint to take or to refuse.

use std::ops::Range;

use axum::http::{HeaderMap, header};
use chrono::DateTime;

use promql::Query;

use crate::{Engine, Error, ErrorKind, Result, Selector};

/// Selectors of one request.
const SELECTORS_MAX: usize = 100;

/// Milliseconds of the latest time that is read; of those beyond, tables have no microseconds.
const TIME_MS_MAX: f64 = 9.2e15;
/// Milliseconds of the longest duration, as Prometheus counts nanoseconds.
const DURATION_MS_MAX: f64 = i64::MAX as f64 / 1e6;

/// What is asked for.
#[derive(Debug)]
pub struct Asked {
    /// Series of any of these.
    pub selectors: Vec<Selector>,
    /// Microseconds, half-open; all of time if nothing is said.
    pub times_us: Range<i64>,
    /// Was a time given that is empty? It counts as not given.
    pub has_empty_time: bool,
    /// Other parameters in the order in which they came.
    pub rest: Vec<(String, String)>,
}

impl Asked {
    /// Reads the parameters; those of the body come before those of the URL, as Prometheus has it.
    ///
    /// # Errors
    /// `Invalid`, with the parameter's name; with a position if it is about a selector.
    pub fn read(headers: &HeaderMap, body: &[u8], query: Option<&str>) -> Result<Self> {
        Self::parse(form(headers, body), query.unwrap_or_default().as_bytes())
    }

    /// All parameters of a request, those of the body first.
    pub(super) fn pairs(headers: &HeaderMap, body: &[u8], query: Option<&str>) -> Vec<(String, String)> {
        let form = form(headers, body);
        let url = query.unwrap_or_default().as_bytes();
        let pairs = form_urlencoded::parse(form).chain(form_urlencoded::parse(url));
        pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    /// The same, from the two texts.
    ///
    /// # Errors
    /// As [`Asked::read`].
    pub fn parse(form: &[u8], query: &[u8]) -> Result<Self> {
        let (mut selectors, mut start, mut end, mut rest) = (Vec::new(), None, None, Vec::new());
        let mut has_empty_time = false;
        for (name, value) in form_urlencoded::parse(form).chain(form_urlencoded::parse(query)) {
            match name.as_ref() {
                "match[]" if selectors.len() == SELECTORS_MAX => {
                    let what = format!("too many selectors; send several requests match_max={SELECTORS_MAX}");
                    return Err(invalid("match[]", &what));
                }
                "match[]" => selectors.push(selector(&value)?),
                // As Prometheus has it, what is empty is not there; who deletes wants to know.
                "start" | "end" if value.is_empty() => has_empty_time = true,
                "start" => start = start.or(Some(time_ns("start", &value)?)),
                "end" => end = end.or(Some(time_ns("end", &value)?)),
                _ => rest.push((name.into_owned(), value.into_owned())),
            }
        }
        if let (Some(start), Some(end)) = (start, end)
            && start > end
        {
            return Err(invalid("end", "end timestamp must not be before start timestamp"));
        }
        // Both ends are included, and a row between two microseconds there is not.
        let us = |ns: i128| i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX });
        let start_us = start.map_or(i64::MIN, |ns| us(-(-ns).div_euclid(1000)));
        let end_us = end.map_or(i64::MAX, |ns| us(ns.div_euclid(1000)).saturating_add(1));
        Ok(Self { selectors, times_us: start_us..end_us, has_empty_time, rest })
    }

    /// The first value of another parameter.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&str> {
        self.rest.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The body, if it is a form.
fn form<'b>(headers: &HeaderMap, body: &'b [u8]) -> &'b [u8] {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") { body } else { &[] }
}

/// What a request says, of an endpoint with parameters of its own.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the parameters; those of the body come before those of the URL.
    pub(super) fn read(headers: &HeaderMap, body: &[u8], url: Option<&str>) -> Self {
        Self(Asked::pairs(headers, body, url))
    }

    /// Those of the URL alone.
    pub(super) fn of_url(url: Option<&str>) -> Self {
        Self::read(&HeaderMap::new(), b"", url)
    }

    /// The first value of a parameter, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        value.filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(super) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The selectors, of which there may be none.
    pub(super) fn selectors(&self) -> Result<Vec<Selector>> {
        if self.all("match[]").nth(SELECTORS_MAX).is_some() {
            let what = format!("too many selectors; send several requests match_max={SELECTORS_MAX}");
            return Err(invalid("match[]", &what));
        }
        self.all("match[]").map(selector).collect()
    }

    /// The query, in the syntax the engine is configured with.
    pub(super) fn query(&self, engine: &Engine) -> Result<Query> {
        engine.parse(self.get("query").unwrap_or_default()).map_err(|error| invalid("query", &error.to_string()))
    }

    /// How many entries of a list are wanted at most.
    pub(super) fn limit(&self) -> Result<usize> {
        let Some(text) = self.get("limit") else { return Ok(usize::MAX) };
        match text.parse::<i64>() {
            Ok(limit) if limit >= 0 => Ok(usize::try_from(limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX)),
            Ok(_) => Err(invalid("limit", "limit must be non-negative")),
            Err(_) => Err(invalid("limit", &format!("cannot parse {text:?} to a number"))),
        }
    }

    /// A number of which the endpoint says itself what is wrong with it.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>> {
        let wrong = |_| Error::new(ErrorKind::Invalid, format!("{name} must be a number"));
        self.get(name).map(|text| text.parse::<i64>().map_err(wrong)).transpose()
    }

    /// A range of time, milliseconds, both ends included; all of time if nothing is said.
    pub(super) fn times_ms(&self) -> Result<(i64, i64)> {
        let time = |name: &str, or: f64| match self.get(name) {
            Some(text) => optional_time_ms(name, text),
            #[expect(clippy::cast_possible_truncation, reason = "it is in range")]
            None => Ok(or as i64),
        };
        let (start_ms, end_ms) = (time("start", -TIME_MS_MAX)?, time("end", TIME_MS_MAX)?);
        if end_ms < start_ms {
            let what = "end timestamp must not be before start timestamp";
            return Err(Error::new(ErrorKind::Invalid, what));
        }
        Ok((start_ms, end_ms))
    }
}

/// What is wrong with a parameter, as Prometheus says it.
pub(super) fn invalid(parameter: &str, what: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("invalid parameter {parameter:?}: {what}"))
}

/// A time that need not be there.
fn optional_time_ms(name: &str, text: &str) -> Result<i64> {
    let wrong =
        |_| invalid(name, &format!("invalid time value for '{name}': cannot parse {text:?} to a valid timestamp"));
    time_ms(name, text).map_err(wrong)
}

/// A time in milliseconds: RFC 3339, or seconds with a fraction; as Prometheus reads it and says that it cannot.
pub(crate) fn time_ms(name: &str, text: &str) -> Result<i64> {
    let wrong = || invalid(name, &format!("cannot parse {text:?} to a valid timestamp"));
    if let Ok(seconds) = text.parse::<f64>() {
        let milliseconds = (seconds * 1000.0).round();
        if !milliseconds.is_finite() || milliseconds.abs() > TIME_MS_MAX {
            return Err(wrong());
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is in range")]
        return Ok(milliseconds as i64);
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| wrong())?;
    Ok(time.timestamp_millis())
}

/// A duration in milliseconds: seconds with a fraction, or `1h30m`; as Prometheus reads it and says that it cannot.
///
/// # Errors
/// `Invalid`, naming the parameter.
pub fn duration_ms(name: &str, text: &str) -> Result<i64> {
    let wrong = || invalid(name, &format!("cannot parse {text:?} to a valid duration"));
    if let Ok(seconds) = text.parse::<f64>() {
        let milliseconds = seconds * 1000.0;
        if !milliseconds.is_finite() || milliseconds.abs() > DURATION_MS_MAX {
            let what = "It overflows int64";
            return Err(invalid(name, &format!("cannot parse {text:?} to a valid duration. {what}")));
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is in range")]
        return Ok(milliseconds as i64);
    }
    promql::parse_duration(text).map_err(|_| wrong())
}

fn selector(text: &str) -> Result<Selector> {
    let read = Selector::parse(text).map_err(Error::from);
    read.map_err(|error| invalid("match[]", &error.to_string()).at(error.position))
}

/// A time as nanoseconds since the epoch: RFC 3339, or seconds with a fraction.
fn time_ns(name: &str, text: &str) -> Result<i128> {
    let wrong =
        || invalid(name, &format!("invalid time value for '{name}': cannot parse {text:?} to a valid timestamp"));
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos()));
    }
    let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.is_finite()).ok_or_else(wrong)?;
    // A double has no more of a time of today than fractions of a microsecond. The cast saturates.
    #[allow(clippy::cast_possible_truncation, reason = "times beyond are the ends of time")]
    Ok(i128::from((seconds * 1e6).round() as i64) * 1000)
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
        for query in ["start=2&end=1", "start=yesterday", "start=NaN", "match[]=up{", "match[]={job=~\".*\"}"] {
            assert!(Asked::parse(b"", query.as_bytes()).is_err(), "{query}");
        }
        let empty = Asked::parse(b"", b"start=&end=1").unwrap();
        assert!(empty.has_empty_time && empty.times_us.start == i64::MIN);
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
