//! `/config/v1/rules`: groups of rules that are read and written, as Mimir's ruler has it, for Grafana and mimirtool.
//!
//! Merged by `alerting`. Texts are YAML. What is written is in force, and on disk, when it is answered (202); what is wrong is told with line
//! and column (400) and changes nothing. A namespace that is a file of the settings is only read. Tenants are not known: `X-Scope-OrgID` does
//! not matter.
//! Spec: <https://grafana.com/docs/mimir/latest/references/http-api/#ruler>

use alerting::rules::Group;
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State, rejection::BytesRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tracing::warn;

use super::refusal;
use crate::{
    auth,
    glue::{
        rules::Loaded,
        service::{
            Service,
            ruler::{Refused, shown},
        },
    },
};

/// Longest body: one group. The largest file that was seen, with all its groups, has 1.2 MB.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Routes of rules that are written.
pub fn router(service: Service) -> Router {
    let mut router = Router::new();
    for prefix in auth::RULER {
        router = router
            .route(prefix, get(all))
            .route(&format!("{prefix}/{{namespace}}"), get(namespace).post(put).delete(remove_namespace))
            .route(&format!("{prefix}/{{namespace}}/{{group}}"), get(group).delete(remove_group));
    }
    router.layer(DefaultBodyLimit::max(BODY_BYTES_MAX)).with_state(service)
}

async fn all(State(service): State<Service>) -> Response {
    yaml(shown(&service.namespaces(None).await))
}

async fn namespace(State(service): State<Service>, Path(namespace): Path<String>) -> Response {
    let found = service.namespaces(Some(&namespace)).await;
    if found.is_empty() { refused(&namespace, Refused::Missing("no rule groups found")) } else { yaml(shown(&found)) }
}

async fn group(State(service): State<Service>, Path((namespace, group)): Path<(String, String)>) -> Response {
    let found: Vec<Loaded> = service.namespaces(Some(&namespace)).await;
    let found = found.iter().flat_map(|loaded| &loaded.groups).find(|known| known.name == group);
    match found {
        Some(found) => yaml(Group::to_yaml(found)),
        None => refused(&namespace, Refused::Missing("group does not exist")),
    }
}

async fn put(
    State(service): State<Service>,
    Path(namespace): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let text = match body.map(|body| String::from_utf8(body.into())) {
        Ok(Ok(text)) => text,
        Ok(Err(_)) => return refused(&namespace, Refused::Wrong("the body is no UTF-8".to_owned())),
        Err(error) => return refused(&namespace, Refused::Wrong(error.body_text())),
    };
    answered(&namespace, service.put_group(&namespace, text).await.map(drop))
}

async fn remove_namespace(State(service): State<Service>, Path(namespace): Path<String>) -> Response {
    answered(&namespace, service.remove_groups(&namespace, None).await)
}

async fn remove_group(State(service): State<Service>, Path((namespace, group)): Path<(String, String)>) -> Response {
    answered(&namespace, service.remove_groups(&namespace, Some(&group)).await)
}

fn yaml(text: alerting::Result<String>) -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"))];
    match text {
        Ok(text) => (kind, text).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()),
    }
}

fn answered(namespace: &str, done: Result<(), Refused>) -> Response {
    match done {
        Ok(()) => {
            let body = json!({ "status": "success", "data": null, "errorType": "", "error": "" });
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
        Err(why) => refused(namespace, why),
    }
}

fn refused(namespace: &str, why: Refused) -> Response {
    match why {
        Refused::Wrong(reason) => refusal(StatusCode::BAD_REQUEST, "bad_data", reason),
        // Grafana looks into `message` for these words.
        Refused::Missing(reason) => {
            let body = json!({ "status": "error", "errorType": "not_found", "error": reason, "message": reason });
            (StatusCode::NOT_FOUND, Json(body)).into_response()
        }
        Refused::ReadOnly => {
            let reason = format!("{namespace:?} is a file that the settings name (`alerting.rules`): change it there");
            refusal(StatusCode::CONFLICT, "bad_data", reason)
        }
        Refused::Failed(error) => {
            let reason = format!("rules cannot be written down now: {error:#}");
            warn!(namespace, "{reason}");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason)
        }
    }
}
