//! What is asked about rules, alerts and notifications: Prometheus' endpoints, Alertmanager's, and `POST /-/reload`.
//!
//! Merged by `app` with the crates' routers.

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};

use super::{pagerduty, refusal, replay, ruler, rules};
use crate::{config::outbound::Others, glue::service::Service};

/// Routes of rules, alerts and notifications.
pub fn router(service: Service) -> Router {
    let about = alerting::http::About {
        version: super::status::VERSION.into(),
        revision: super::status::REVISION.into(),
        branch: String::new(),
        build_user: String::new(),
        build_date: String::new(),
        compiler: "rust".into(),
        started_ms: service.started_ms(),
    };
    let of_rules = rules::router(service.rules().clone());
    let of_alerts = alerting::http::router(service.manager().clone(), about);
    let of_incidents =
        service.pagerduty_secrets().map(|secrets| pagerduty::router(service.clone(), secrets.to_owned()));
    let replays = replay::router(service.clone()).merge(ruler::router(service.clone()));
    let of_service = Router::new()
        .route("/-/reload", post(reload).put(reload))
        .route("/api/v1/alertmanagers", get(others))
        .with_state(service);
    of_service.merge(of_rules).merge(of_alerts).merge(replays).merge(of_incidents.unwrap_or_default())
}

/// Other Alertmanagers, as Prometheus shows those that it tells.
async fn others(State(service): State<Service>) -> Json<Value> {
    let Others { active, dropped } = service.others();
    let active: Vec<Value> = active.iter().map(|other| json!({ "url": other.url })).collect();
    let dropped: Vec<Value> = dropped.iter().map(|url| json!({ "url": url })).collect();
    let data = json!({ "activeAlertmanagers": active, "droppedAlertmanagers": dropped });
    Json(json!({ "status": "success", "data": data }))
}

async fn reload(State(service): State<Service>) -> Response {
    match service.reload().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "bad_data",
            format!("files are refused, and what was in force stays: {error:#}"),
        ),
    }
}
