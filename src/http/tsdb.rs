//! Prometheus' administration of series: `delete_series` and `clean_tombstones`, as its clients call them.
//!
//! Merged by `app` with the crates' routers, under scope `admin`. Selectors become series by the engine, and series are
//! taken out by remote write, which owns the order of writes. An answer comes when the series are gone: from every query
//! that begins after it, and from every start, whatever ends the process.
//!
//! Invariants: nothing is taken out before all of a request is understood, names of parameters included: a misspelt `start`
//! would delete everything; one deletion runs at a time, and one that has begun ends though its client may be gone.
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#tsdb-admin-apis>

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, RawQuery, State, rejection::BytesRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use ingest::{ErrorKind, remote_write::RemoteWrite};
use query::{Asked, Engine, Wanted};
use storage::Storage;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::refusal;

/// Longest body. A selector is a line; a list of thousands of names still fits.
const BODY_BYTES_MAX: usize = 1 << 20;
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
    let asked = match asked(&headers, &body, query.as_deref()) {
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

async fn delete(tsdb: &Tsdb, Asked { selectors, times_us, .. }: Asked) -> Response {
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

/// Everything that is asked for, or the refusal.
fn asked(headers: &HeaderMap, body: &[u8], query: Option<&str>) -> Result<Asked, Box<Response>> {
    let asked = Asked::read(headers, body, query).map_err(|error| Box::new(query::failure(&error)))?;
    if asked.has_empty_time {
        // A variable that a script did not set would delete all of time.
        let what = "start or end is empty; leave it out to mean all of time";
        return Err(Box::new(refusal(StatusCode::BAD_REQUEST, "bad_data", what)));
    }
    if let Some((name, _)) = asked.rest.first() {
        let reason = format!("no such parameter; there are match[], start and end name={name:?}");
        return Err(Box::new(bad_data(reason)));
    }
    if asked.selectors.is_empty() {
        let reason = "no match[] parameter: say which series, such as match[]=up{job=\"node\"}";
        return Err(Box::new(bad_data(reason)));
    }
    Ok(asked)
}

fn bad_data(reason: impl Into<String>) -> Response {
    refusal(StatusCode::BAD_REQUEST, "bad_data", reason)
}

pub(super) fn unavailable(reason: impl Into<String>) -> Response {
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason);
    response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER_S);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_not_understood_whole_is_refused() {
        for query in
            ["", "start=1", "match[]=up&start=2&end=1", "match[]=up&begin=1", "match=up", "match[]=up&match[]=up{"]
        {
            let Err(answer) = asked(&HeaderMap::new(), b"", Some(query)) else { panic!("{query} is taken") };
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{query}");
        }
        assert!(asked(&HeaderMap::new(), b"", Some("match[]=up&start=1&end=2")).is_ok());
    }
}
