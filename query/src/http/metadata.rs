//! `/api/v1/metadata`, as Prometheus has it; of what was sent instead of what is scraped.
//!
//! Called by [`router`](super::router).
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#querying-metric-metadata>

use axum::{
    Router,
    extract::{RawQuery, State},
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};

use super::{failure, params::Params};
use crate::{Engine, Error, metadata::Limits};

/// Routes of what is known of metrics.
pub(super) fn router() -> Router<Engine> {
    Router::new().route("/api/v1/metadata", get(metadata))
}

async fn metadata(State(engine): State<Engine>, RawQuery(url): RawQuery) -> Response {
    let answer = async {
        let params = Params::of_url(url.as_deref());
        // A negative number is no limit; no metric at all can be asked for, but not no text of each.
        let metrics_max = params.number("limit")?.and_then(|limit| usize::try_from(limit).ok());
        let texts_max = params.number("limit_per_metric")?.and_then(|limit| usize::try_from(limit).ok());
        let limits =
            Limits { metric: params.get("metric"), metrics_max, texts_max: texts_max.filter(|limit| *limit > 0) };
        let data = engine.described().await?.json(limits);
        let body = format!(r#"{{"status":"success","data":{data}}}"#);
        Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error))
}
