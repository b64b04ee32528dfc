//! What Prometheus tells of its scraping: targets and pools; and what is switched on.
//!
//! Called by [`router`](super::router). We do not scrape, so all of it is there and empty, and parameters are checked as Prometheus
//! does: clients that list targets show an empty list instead of an error.
//!
//! Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#targets>

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};

use super::{
    failure,
    params::{Params, invalid},
};
use crate::{Engine, Error, ErrorKind, Result, Selector};

/// Routes of scraping.
pub(super) fn router() -> Router<Engine> {
    let of = |answer: fn(&Params) -> Result<Value>| {
        get(move |RawQuery(url): RawQuery| async move { respond(answer(&Params::of_url(url.as_deref()))) })
    };
    Router::new()
        .route("/api/v1/targets", of(|_| Ok(targets())))
        .route("/api/v1/targets/metadata", of(metadata))
        .route("/api/v1/targets/relabel_steps", of(relabel_steps))
        .route("/api/v1/scrape_pools", of(|_| Ok(json!({ "scrapePools": [] }))))
        .route("/api/v1/scrape_pools/config", of(|params| no_pool(params).map(|never| match never {})))
        .route("/api/v1/features", get(features))
}

fn respond(data: Result<Value>) -> Response {
    match data {
        Ok(data) => Json(json!({ "status": "success", "data": data })).into_response(),
        Err(error) => failure(&error.at(None)),
    }
}

fn targets() -> Value {
    json!({ "activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {} })
}

fn metadata(params: &Params) -> Result<Value> {
    params.number("limit")?;
    if let Some(text) = params.get("match_target") {
        Selector::parse(text).map_err(|error| invalid("match_target", &error.to_string()))?;
    }
    Ok(json!([]))
}

fn relabel_steps(params: &Params) -> Result<Value> {
    params.get("scrapePool").ok_or_else(|| bad("no scrapePool parameter provided"))?;
    let labels = params.get("labels").ok_or_else(|| bad("no labels parameter provided"))?;
    let read = serde_json::from_str::<std::collections::BTreeMap<String, String>>(labels);
    read.map_err(|error| bad(&format!("error parsing labels: {error}")))?;
    no_pool(params).map(|never| match never {})
}

/// There is no pool, whatever it is called.
fn no_pool(params: &Params) -> Result<std::convert::Infallible> {
    let pool = params.get("scrapePool").ok_or_else(|| bad("no scrapePool parameter provided"))?;
    Err(bad(&format!("error retrieving scrape config: scrape pool {pool:?} not found")))
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::Invalid, what)
}

/// What is there and what is switched on, by the names Prometheus gives to it.
async fn features(State(engine): State<Engine>) -> Response {
    let promql = engine.config().promql.features;
    respond(Ok(json!({
        "api": {
            "admin": true,
            "exclude_alerts": true,
            "label_values_match": true,
            "lifecycle": false,
            "otlp_write_receiver": false,
            "query_cost": false,
            "query_stats": true,
            "query_warnings": true,
            "remote_write_receiver": true,
            "search": false,
            "time_range_labels": true,
            "time_range_series": true,
        },
        "prometheus": { "agent_mode": false, "auto_reload_config": false, "server_mode": true },
        "promql": {
            "at_modifier": true,
            "delayed_name_removal": promql.delayed_name_removal,
            "duration_expr": true,
            "negative_offset": true,
            "per_query_lookback_delta": true,
            "per_step_stats": false,
            "subqueries": true,
            "type_and_unit_labels": promql.type_and_unit,
        },
        "tsdb": { "exemplar_storage": true, "native_histograms": true },
    })))
}
