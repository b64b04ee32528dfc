//! `/api/v1/format_query` and `/api/v1/parse_query`, as Prometheus has them.
//!
//! Called by [`router`](super::router). Reads a query and shows it again, as text or as a tree; asks no data.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#formatting-query-expressions>

use axum::{
    Json, Router,
    body::Bytes,
    extract::RawQuery,
    http::HeaderMap,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{failure, params::Asked};
use crate::{
    Engine, Error, ErrorKind, Result,
    promql::{Expr, parse, pretty, to_json},
};

/// Routes of queries as texts.
pub(super) fn router() -> Router<Engine> {
    Router::new()
        .route("/api/v1/format_query", get(format_query).post(format_query))
        .route("/api/v1/parse_query", get(parse_query).post(parse_query))
}

async fn format_query(RawQuery(query): RawQuery, headers: HeaderMap, body: Bytes) -> Response {
    answer(&headers, &body, query.as_deref(), |expr| pretty(expr).into())
}

async fn parse_query(RawQuery(query): RawQuery, headers: HeaderMap, body: Bytes) -> Response {
    answer(&headers, &body, query.as_deref(), to_json)
}

fn answer(headers: &HeaderMap, body: &[u8], query: Option<&str>, show: impl Fn(&Expr) -> Value) -> Response {
    match read(headers, body, query) {
        Ok(expr) => Json(json!({ "status": "success", "data": show(&expr) })).into_response(),
        Err(error) => failure(&error),
    }
}

fn read(headers: &HeaderMap, body: &[u8], query: Option<&str>) -> Result<Expr> {
    let asked = Asked::read(headers, body, query)?;
    let text = asked.rest.iter().find(|(name, _)| name == "query").map(|(_, text)| text.as_str());
    parse(text.ok_or_else(|| Error::new(ErrorKind::Invalid, "no query; send it as parameter `query`"))?)
}
