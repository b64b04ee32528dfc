//! Alertmanager's HTTP API, version 2: status, receivers, alerts, groups of alerts, silences.
//!
//! Merged by the program under its own authentication and limits. Asked by whoever shows alerts and silences (amtool, Grafana, karma), and
//! told by whoever evaluates rules (Prometheus, vmalert, Loki). Paths, parameters, statuses and the order of fields are those of
//! Alertmanager; an error is a JSON string that says what to do.
//!
//! Invariants: everything waits only while pointers are copied, not while answers are computed and written; what is posted is on disk
//! before it is answered; a wrong alert does not cost its neighbours. Not here: what a silence may be (`silence`), what alerts do.
//! Spec: <https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>

mod alerts;
mod body;
mod groups;
mod params;
mod posted;
mod silences;
pub(crate) mod time;
mod write;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::map_response,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;

use crate::{Error, ErrorKind, alertmanager::Alertmanager};
use params::Params;
use time::Time;
use write::Name;

/// Seconds after which a client whose alerts could not be written down may send them again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("2");

/// What is told of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Version, such as `1.2.3`.
    pub version: String,
    /// Commit.
    pub revision: String,
    /// Branch.
    pub branch: String,
    /// Who built it.
    pub build_user: String,
    /// When it was built.
    pub build_date: String,
    /// With what it was built, told as `goVersion`.
    pub compiler: String,
    /// When it started, milliseconds since the epoch.
    pub started_ms: i64,
}

/// Routes below `/api/v2`.
pub fn router(manager: Alertmanager, about: About) -> Router {
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Router::new()
        .route("/api/v2/status", get(status))
        .route("/api/v2/receivers", get(receivers))
        .merge(alerts::router())
        .merge(groups::router())
        .merge(silences::router())
        .layer(map_response(move |response: Response| std::future::ready(with(response, no_store.clone()))))
        .with_state(Shared { manager, about: Arc::new(about) })
}

fn with(mut response: Response, (name, value): (HeaderName, HeaderValue)) -> Response {
    response.headers_mut().insert(name, value);
    response
}

#[derive(Clone)]
struct Shared {
    manager: Alertmanager,
    about: Arc<About>,
}

async fn status(State(Shared { manager, about }): State<Shared>) -> Answer {
    let plan = manager.look(|look| Arc::clone(look.plan()));
    let About { version, revision, branch, build_user, build_date, compiler, started_ms } = &*about;
    let answer = json!({
        "cluster": { "peers": [], "status": "disabled" },
        "config": { "original": plan.config.redacted_yaml()? },
        "uptime": Time(*started_ms),
        "versionInfo": {
            "branch": branch,
            "buildDate": build_date,
            "buildUser": build_user,
            "goVersion": compiler,
            "revision": revision,
            "version": version,
        },
    });
    Ok(Json(answer).into_response())
}

async fn receivers(State(shared): State<Shared>, RawQuery(query): RawQuery) -> Answer {
    let params = Params::parse(query.as_deref())?;
    let plan = shared.manager.look(|look| Arc::clone(look.plan()));
    let wanted = params.receivers(&plan);
    let all = plan.config.receivers().map(|receiver| receiver.name.as_str());
    let names: Vec<Name> = all.filter(|name| wanted.contains(name)).map(|name| Name { name }).collect();
    Ok(Json(names).into_response())
}

/// An answer, or why there is none.
type Answer = Result<Response, Refused>;

/// Why something was refused.
#[derive(Debug)]
struct Refused(StatusCode, String);

impl Refused {
    fn bad(message: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, message.into())
    }

    /// There is no silence of an id; in these words, which clients know.
    fn no_silence() -> Self {
        Self(StatusCode::NOT_FOUND, "silence not found".to_owned())
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = match error.kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, message) = self;
        let response = (status, Json(message)).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return with(response, (header::RETRY_AFTER, RETRY_AFTER_S));
        }
        response
    }
}

/// Does what takes long where nobody waits for it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refused::from(Error::new(ErrorKind::Internal, format!("a request was not finished: {error}"))))
}

#[cfg(test)]
mod tests;
