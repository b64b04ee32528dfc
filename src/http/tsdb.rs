//! Prometheus' administration of series: `delete_series` and `clean_tombstones`, as its clients call them.
//!
//! Merged by `app` with the crates' routers, under scope `admin`. Selectors become series by the engine, and series are
//! taken out by remote write, which owns the order of writes. An answer comes when the series are gone: from every query
//! that begins after it, and from every start, whatever ends the process.
//!
//! Invariants: nothing is taken out before all of a request is understood, names of parameters included: a misspelt `start`
//! would delete everything; one deletion runs at a time, and one that has begun ends though its client may be gone.
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#tsdb-admin-apis>

use std::{ops::Range, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use chrono::DateTime;
use ingest::{ErrorKind, remote_write::RemoteWrite};
use query::{Engine, Selector, Wanted};
use serde_json::json;
use storage::Storage;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::refusal;

/// Longest body. A selector is a line; a list of thousands of names still fits.
const BODY_BYTES_MAX: usize = 1 << 20;
/// Selectors of one request. Each reads the series of all days of the range.
const SELECTORS_MAX: usize = 100;
/// Seconds after which a request that met an overload may come again; a commit takes as long.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("2");

/// What the endpoints work on.
#[derive(Clone)]
struct Tsdb {
    engine: Engine,
    remote_write: RemoteWrite,
    storage: Storage,
    /// A deletion rewrites files and holds the datasets' writers up meanwhile; several at once would only queue there.
    turn: Arc<Semaphore>,
}

/// Routes of the administration of series.
pub fn router(engine: Engine, remote_write: RemoteWrite, storage: Storage) -> Router {
    Router::new()
        .route("/api/v1/admin/tsdb/delete_series", post(delete_series).put(delete_series))
        .route("/api/v1/admin/tsdb/clean_tombstones", post(clean_tombstones).put(clean_tombstones))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Tsdb { engine, remote_write, storage, turn: Arc::new(Semaphore::new(1)) })
}

/// What is to be deleted.
#[derive(Debug)]
struct Asked {
    selectors: Vec<Selector>,
    /// Microseconds, half-open.
    times_us: Range<i64>,
}

async fn delete_series(
    State(tsdb): State<Tsdb>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(error) => return bad_data(error.body_text()),
    };
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_form =
        media.split(';').next().is_some_and(|m| m.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"));
    let form: &[u8] = if is_form { &body } else { &[] };
    let asked = match asked(form, query.unwrap_or_default().as_bytes()) {
        Ok(asked) => asked,
        Err(answer) => return *answer,
    };
    let Ok(turn) = Arc::clone(&tsdb.turn).acquire_owned().await else { return unavailable("the server is stopping") };
    let work = tokio::spawn(async move {
        let answer = delete(&tsdb, asked).await;
        drop(turn);
        answer
    });
    work.await.unwrap_or_else(|_| refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the deletion broke off"))
}

async fn delete(tsdb: &Tsdb, Asked { selectors, times_us }: Asked) -> Response {
    let series = match tsdb.engine.series(&selectors, times_us.clone(), Wanted::Ids).await {
        Ok(series) => series,
        Err(error) => return query::failure(&error),
    };
    match tsdb.remote_write.delete(series.iter().collect(), times_us).await {
        Ok(()) => {
            info!(series = series.len(), "deleted series on request");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => {
            warn!(%error, "series could not be deleted");
            match error.kind {
                ErrorKind::Overloaded | ErrorKind::Unavailable | ErrorKind::Fenced => unavailable(error.to_string()),
                _ => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()),
            }
        }
    }
}

/// What a delete took out is out of the files already; what is left to clean are the files before it, and that is what a
/// compaction does.
async fn clean_tombstones(State(tsdb): State<Tsdb>) -> Response {
    let work = tokio::spawn(async move { tsdb.storage.compact(|_| {}).await });
    match work.await {
        Ok(Ok(_)) => StatusCode::NO_CONTENT.into_response(),
        Ok(Err(error)) => unavailable(error.chain()),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the compaction broke off"),
    }
}

/// Reads the parameters; those of the body come before those of the URL, as Prometheus has it.
fn asked(form: &[u8], query: &[u8]) -> Result<Asked, Box<Response>> {
    let (mut selectors, mut start, mut end) = (Vec::new(), None, None);
    for (name, value) in form_urlencoded::parse(form).chain(form_urlencoded::parse(query)) {
        match name.as_ref() {
            "match[]" if selectors.len() == SELECTORS_MAX => {
                return Err(refused(format!("too many selectors; send several requests match_max={SELECTORS_MAX}")));
            }
            "match[]" => selectors.push(selector(&value)?),
            "start" => start = start.or(Some(time_ns("start", &value)?)),
            "end" => end = end.or(Some(time_ns("end", &value)?)),
            _ => return Err(refused(format!("no such parameter; there are match[], start and end name={name:?}"))),
        }
    }
    if selectors.is_empty() {
        return Err(refused("no match[] parameter: say which series, such as match[]=up{job=\"node\"}"));
    }
    if let (Some(start), Some(end)) = (start, end)
        && start > end
    {
        return Err(refused("end is before start"));
    }
    // Both ends are included, and a row between two microseconds there is not.
    let us = |ns: i128| i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX });
    let start_us = start.map_or(i64::MIN, |ns| us(-(-ns).div_euclid(1000)));
    let end_us = end.map_or(i64::MAX, |ns| us(ns.div_euclid(1000)).saturating_add(1));
    Ok(Asked { selectors, times_us: start_us..end_us })
}

fn selector(text: &str) -> Result<Selector, Box<Response>> {
    Selector::parse(text).map_err(|error| {
        let reason = format!("match[]={text:?}: {error}");
        let mut body = json!({"status": "error", "errorType": "bad_data", "error": reason});
        if let Some(position) = error.position {
            body["position"] = json!(position);
        }
        Box::new((StatusCode::BAD_REQUEST, Json(body)).into_response())
    })
}

/// A time as nanoseconds since the epoch: RFC 3339, or seconds with a fraction.
fn time_ns(name: &str, text: &str) -> Result<i128, Box<Response>> {
    let wrong = || {
        let wanted = "a time is seconds since 1970, such as 1795305600.5, or RFC 3339, such as 2026-11-22T00:00:00Z";
        refused(format!("{name} cannot be read; {wanted} {name}={text:?}"))
    };
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos()));
    }
    let seconds: f64 = text.parse().ok().filter(|seconds: &f64| seconds.is_finite()).ok_or_else(wrong)?;
    // A double has no more of a time of today than fractions of a microsecond. The cast saturates.
    #[allow(clippy::cast_possible_truncation, reason = "times beyond are the ends of time")]
    Ok(i128::from((seconds * 1e6).round() as i64) * 1000)
}

fn refused(reason: impl Into<String>) -> Box<Response> {
    Box::new(bad_data(reason))
}

fn bad_data(reason: impl Into<String>) -> Response {
    refusal(StatusCode::BAD_REQUEST, "bad_data", reason)
}

fn unavailable(reason: impl Into<String>) -> Response {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(query: &str) -> Range<i64> {
        asked(b"", format!("match[]=up&{query}").as_bytes()).unwrap_or_else(|_| panic!("{query}")).times_us
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
    fn a_request_that_is_not_understood_whole_is_refused() {
        for query in [
            "",
            "start=1",
            "match[]=up&start=2&end=1",
            "match[]=up&start=",
            "match[]=up&start=yesterday",
            "match[]=up&start=NaN",
            "match[]=up&begin=1",
            "match=up",
            "match[]=up&match[]=up{",
            "match[]={job=~\".*\"}",
        ] {
            let answer = asked(b"", query.as_bytes()).err().unwrap_or_else(|| panic!("{query} is taken"));
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        }
        let many = "match[]=up&".repeat(SELECTORS_MAX + 1);
        assert!(asked(many.as_bytes(), b"").is_err());
    }

    #[test]
    fn body_and_url_are_read_together_and_the_body_goes_first() {
        let asked = asked(b"match[]=up&start=2", b"start=1&match%5B%5D=%7Ba%3D%22b%22%7D").unwrap_or_else(|_| panic!());
        assert_eq!(asked.selectors.len(), 2);
        assert_eq!(asked.times_us.start, 2_000_000);
    }
}
