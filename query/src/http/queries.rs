//! `/api/v1/status/queries`: which queries are running; and `DELETE /api/v1/status/queries/{id}`, which ends one.
//!
//! Called by [`router`](super::router). An extension: Prometheus has its log of active queries in a file. Who may end a query is the
//! binary's business, which asks for scope `admin` where something is deleted.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use serde_json::json;

use crate::Engine;

/// Routes of running queries.
pub(super) fn router() -> Router<Engine> {
    Router::new().route("/api/v1/status/queries", get(list)).route("/api/v1/status/queries/{id}", delete(kill))
}

async fn list(State(engine): State<Engine>) -> Response {
    let queries: Vec<_> = engine
        .asking()
        .into_iter()
        .map(|query| {
            #[expect(clippy::cast_precision_loss, reason = "an age in milliseconds is exact in a double")]
            let seconds = query.age_ms as f64 / 1000.0;
            json!({ "id": query.id.to_string(), "kind": query.kind, "query": &*query.text, "ageSeconds": seconds })
        })
        .collect();
    Json(json!({ "status": "success", "data": { "queries": queries } })).into_response()
}

async fn kill(State(engine): State<Engine>, Path(id): Path<String>) -> Response {
    if id.parse().is_ok_and(|id| engine.kill(id)) {
        tracing::info!(id, "a query was ended on request");
        return Json(json!({ "status": "success" })).into_response();
    }
    let error = format!("no such query is running; GET /api/v1/status/queries lists them id={id:?}");
    (StatusCode::NOT_FOUND, Json(json!({ "status": "error", "errorType": "not_found", "error": error })))
        .into_response()
}
