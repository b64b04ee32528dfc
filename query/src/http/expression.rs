//! `/api/v1/format_query` and `/api/v1/parse_query`, as Prometheus has them.
//!
//! Called by [`router`](super::router). Reads a query and shows it again, as text or as a tree; asks no data.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#formatting-query-expressions>

use axum::{
    Json, Router,
    body::Bytes,
    extract::{RawQuery, State},
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::get,
};
use promql::Query;
use serde_json::{Value, json};

use super::{failure, params::Asked};
use crate::{Engine, Error, ErrorKind, Result};

/// Routes of queries as texts.
pub(super) fn router() -> Router<Engine> {
    Router::new()
        .route("/api/v1/format_query", get(format_query).post(format_query))
        .route("/api/v1/parse_query", get(parse_query).post(parse_query))
}

async fn format_query(
    State(engine): State<Engine>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(read(&engine, &headers, &body, query.as_deref()), |query| query.pretty().into())
}

async fn parse_query(
    State(engine): State<Engine>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    answer(read(&engine, &headers, &body, query.as_deref()), Query::to_json)
}

fn answer(read: Result<Query>, show: impl Fn(&Query) -> Value) -> Response {
    match read {
        Ok(query) => Json(json!({ "status": "success", "data": show(&query) })).into_response(),
        Err(error) => failure(&error.at(None)),
    }
}

fn read(engine: &Engine, headers: &HeaderMap, body: &[u8], query: Option<&str>) -> Result<Query> {
    let asked = Asked::read(headers, body, query)?;
    let text = asked.rest.iter().find(|(name, _)| name == "query").map(|(_, text)| text.as_str());
    let text = text.ok_or_else(|| Error::new(ErrorKind::Invalid, "no query; send it as parameter `query`"))?;
    engine.parse(text)
}
