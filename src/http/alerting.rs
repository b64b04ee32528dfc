//! What is asked about rules, alerts and notifications: Prometheus' endpoints, Alertmanager's, and `POST /-/reload`.
//!
//! Merged by `app` with the crates' routers.

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::post,
};

use super::{refusal, replay, ruler, rules};
use crate::glue::service::Service;

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
    let replays = replay::router(service.clone()).merge(ruler::router(service.clone()));
    let reload = Router::new().route("/-/reload", post(reload).put(reload)).with_state(service);
    reload.merge(of_rules).merge(of_alerts).merge(replays)
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
