//! The server's face: merges the crates' routers, answers for itself, and guards all of it.
//!
//! Called by `app`, which serves the router as soon as the address is bound and hands in the rest when storage is open. A
//! request's way: count and log → tokens, or for pages sessions → route → panics caught → handler.
//! Invariants: what is not routed needs a token like everything else; every answer carries the security headers; errors are
//! `{status, errorType, error}`; labels, bodies and times are bounded; nothing of a request is logged but method, path and
//! the name of its token.
//! Not here: what endpoints mean (their crates), connections and TLS (`listen`).

pub mod about;
mod admin;
pub mod alerting;
pub mod billing;
mod compress;
pub mod listen;
pub mod metrics;
pub mod notifications;
pub mod page;
pub mod pagerduty;
pub mod process;
pub mod replay;
pub mod ruler;
pub mod rules;
pub mod status;
pub mod tsdb;

use std::{
    any::Any,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use prometheus::Registry;
use serde_json::json;
use storage::Storage;
use tower::ServiceExt;
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use tracing::{debug, error};

use crate::auth::{Auth, Denied, Scope};
use about::About;
use metrics::Metrics;
use page::{Parts, rates::Rates};

/// Longest pause inside a request's body.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(30);

/// On every answer that does not say otherwise. Nothing runs and nothing loads, whatever a name in an answer says; the page for people says
/// what it needs.
const SECURITY_HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ),
];

/// What handlers and layers share. Cheap to clone.
#[derive(Clone)]
pub struct Shared {
    about: About,
    auth: Auth,
    metrics: Metrics,
    registry: Registry,
    rates: Rates,
    open: Arc<OnceLock<Open>>,
    /// One flush and one compaction may run that nobody waits for.
    flushing: Arc<tokio::sync::Semaphore>,
    compacting: Arc<tokio::sync::Semaphore>,
}

/// What there is once storage is open.
struct Open {
    storage: Storage,
    page: Parts,
    router: Router,
}

impl Shared {
    /// Before storage is open.
    #[must_use]
    pub fn new(about: About, auth: Auth, metrics: Metrics, registry: Registry) -> Self {
        let one = || Arc::new(tokio::sync::Semaphore::new(1));
        let rates = Rates::new(registry.clone(), metrics.clock().clone());
        Self { about, auth, metrics, registry, rates, open: Arc::default(), flushing: one(), compacting: one() }
    }

    /// How fast its counters go; to be noted for as long as it serves.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.rates.clone()
    }

    /// Storage is open: from now on the server is ready, the page asks `page`, and `router` is reached. Only the first call counts.
    pub fn open(&self, storage: Storage, page: Parts, router: Router) {
        let router = routed(router).fallback(not_found);
        let _ = self.open.set(Open { storage, page, router });
    }
}

/// The whole server.
pub fn router(shared: Shared) -> Router {
    let own = page::routes()
        .route("/-/healthy", get(status::healthy))
        .route("/-/ready", get(status::ready))
        .route("/metrics", get(status::metrics))
        .route("/api/v1/status/buildinfo", get(status::build_info))
        .route("/api/v1/status/config", get(about::config))
        .route("/api/v1/status/flags", get(about::flags_in_force))
        .route("/api/v1/status/runtimeinfo", get(about::runtime_info))
        .route("/api/v1/status/walreplay", get(about::wal_replay))
        .route("/api/v1/admin/flush", post(admin::flush))
        .route("/api/v1/admin/compact", post(admin::compact));
    routed(own)
        .fallback(opened)
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE_MAX))
        .layer(middleware::from_fn(compress::compress))
        .layer(middleware::from_fn_with_state(shared.clone(), authorize))
        .layer(middleware::from_fn_with_state(shared.clone(), observe))
        .with_state(shared)
}

/// What every route has: its pattern told to `observe`, panics answered, wrong methods refused like other errors.
fn routed<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router
        .route_layer(CatchPanicLayer::custom(panicked))
        .route_layer(middleware::from_fn(tell_pattern))
        .method_not_allowed_fallback(method_not_allowed)
}

/// An error as the APIs answer it.
pub fn refusal(code: StatusCode, kind: &str, reason: impl Into<String>) -> Response {
    let reason: String = reason.into();
    (code, Json(json!({"status": "error", "errorType": kind, "error": reason}))).into_response()
}

/// Hands on to the crates' routers, once they are there.
async fn opened(State(shared): State<Shared>, request: Request) -> Response {
    match shared.open.get() {
        Some(open) => open.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {}),
        None => status::starting(),
    }
}

/// The outermost layer: counts, times, logs, and puts the security headers on.
async fn observe(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let running = shared.metrics.begin();
    let client = listen::client(&request);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.entry(name).or_insert(value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    let pattern = response.extensions().get::<MatchedPath>().cloned();
    let token = response.extensions().get::<TokenName>().and_then(|name| name.0.clone());
    let (code, age_us) = (response.status(), running.age_us());
    debug!(%method, path, code = code.as_u16(), age_us, token = token.as_deref(), ?client, "request");
    running.end(pattern.as_ref().map_or("unmatched", MatchedPath::as_str), &method, code);
    response
}

/// Name of the token a request came with, for the log.
#[derive(Clone)]
struct TokenName(Option<Arc<str>>);

async fn authorize(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let by_token = || shared.auth.check(request.headers(), Scope::of(request.method(), request.uri().path()));
    let allowed = page::in_session(&shared, &request).unwrap_or_else(by_token);
    let asking = allowed.as_ref().err().and_then(|denied| page::ask(&shared, &request, denied));
    if let Some(asking) = asking {
        return asking;
    }
    match allowed {
        Ok(name) => {
            let mut response = next.run(request).await;
            response.extensions_mut().insert(TokenName(name));
            response
        }
        Err(denied @ Denied::Scope(_)) => refusal(StatusCode::FORBIDDEN, "forbidden", denied.to_string()),
        Err(denied) => {
            let mut response = refusal(StatusCode::UNAUTHORIZED, "unauthorized", denied.to_string());
            let headers = response.headers_mut();
            headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"streamgauge\""));
            headers.append(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"streamgauge\", charset=\"UTF-8\""),
            );
            response
        }
    }
}

/// Only a matched route knows its pattern, and only the outermost layer knows how it ended.
async fn tell_pattern(pattern: MatchedPath, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.extensions_mut().insert(pattern);
    response
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    error!(panic = text.unwrap_or("not text"), "a handler panicked: this is a defect, please report it");
    refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a defect of the server; its log says more")
}

async fn not_found() -> Response {
    refusal(StatusCode::NOT_FOUND, "not_found", "there is nothing here; `/endpoints` lists what there is")
}

async fn method_not_allowed() -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "bad_method", "this endpoint takes another method; `/endpoints` lists them")
}

#[cfg(test)]
mod tests;
