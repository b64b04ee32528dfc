//! What the server says about itself: health, metrics, build, endpoints.
//!
//! Routed by `http`.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus::{TEXT_FORMAT, TextEncoder};
use serde_json::json;

use super::{Shared, refusal};

/// Revision the binary was built of, if the build said so.
pub const REVISION: &str = match option_env!("STREAMGAUGE_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
/// Version of the binary.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Method, path, and what it is.
pub(super) const ENDPOINTS: [(&str, &str, &str); 44] = [
    ("POST", "/api/v1/write", "Prometheus remote write 1.0 and 2.0 (scope write)"),
    (
        "POST",
        "/api/v1/billing/<export>/<part>",
        "a file of a bill: ?file=; GET lists them, DELETE forgets them (scope write)",
    ),
    ("POST", "/api/v1/billing/<export>/<part>/commit", "load what was sent; reprocess loads it again (scope write)"),
    ("POST", "/api/v1/billing/<export>/<month>/close", "the bill of the month is final (scope write)"),
    ("PUT", "/api/v1/reference/<table>/<source>", "rows of accounts, exchange_rates or invoices, CSV (scope write)"),
    ("POST", "/api/v1/sql", "SQL; also GET ?query=&format=json|ndjson|csv|arrow|parquet|xlsx (scope read)"),
    ("GET", "/api/v1/sql/<name>", "a saved query: its parameters, &format=; /api/v1/sql lists them (scope read)"),
    ("GET, POST", "/api/v1/query", "PromQL at a time: query=&time= (scope read)"),
    ("GET, POST", "/api/v1/query_range", "PromQL over a range: query=&start=&end=&step= (scope read)"),
    ("GET, POST", "/api/v1/query_exemplars", "exemplars of a query's series: query=&start=&end= (scope read)"),
    ("GET, POST", "/api/v1/format_query", "PromQL laid out; parse_query shows it as a tree (scope read)"),
    ("GET, POST", "/api/v1/series", "series: match[]=&start=&end=&limit= (scope read)"),
    ("GET, POST", "/api/v1/labels", "names of labels; label/<name>/values has their values (scope read)"),
    ("GET", "/api/v1/metadata", "type, unit and help of metrics: metric=&limit=&limit_per_metric= (scope read)"),
    ("POST", "/api/v1/read", "Prometheus remote read, samples and streamed chunks (scope read)"),
    ("GET", "/federate", "newest samples as text, for a scrape: match[]= (scope read)"),
    ("GET", "/api/v1/rules", "rules; alerts has what fires (scope read)"),
    (
        "GET, POST, DELETE",
        "/config/v1/rules/<namespace>/<group>",
        "groups of rules, YAML, as Mimir: POST to a namespace writes one (scopes read, admin)",
    ),
    ("POST", "/api/v1/rules/backtest", "what rules of these files would have done (scope read)"),
    ("POST", "/api/v1/rules/replay", "what rules in force would have done, kept under a run (scope admin)"),
    (
        "GET",
        "/api/v2/alerts",
        "alerts and who is told, as Alertmanager; also alerts/groups, receivers, silences (scope read)",
    ),
    ("POST", "/api/v2/alerts", "alerts of a Prometheus; silences takes silences (scopes write, admin)"),
    ("GET", "/api/v1/targets", "nothing, as we do not scrape; also scrape_pools (scope read)"),
    ("GET", "/api/v1/alertmanagers", "other Alertmanagers that are told of alerts (scope read)"),
    ("GET", "/api/v1/features", "what is switched on (scope read)"),
    ("GET", "/metrics", "metrics of this server (scope read)"),
    ("GET", "/api/v1/status/buildinfo", "version; also config, flags, runtimeinfo, walreplay (scope read)"),
    ("GET", "/api/v1/status/lateness", "how late samples come, and which offset of rules suits them (scope read)"),
    ("GET", "/api/v1/status/tsdb", "how many series there are, and of what: limit= (scope read)"),
    ("GET", "/api/v1/status/queries", "queries that are running (scope read)"),
    ("DELETE", "/api/v1/status/queries/<id>", "end a running query (scope admin)"),
    ("POST", "/api/v1/admin/flush", "write recent rows to files now; ?wait=true waits for it (scope admin)"),
    ("POST", "/api/v1/admin/compact", "merge and clean up the tables now; ?wait=true tells each step (scope admin)"),
    ("POST", "/api/v1/admin/tsdb/delete_series", "delete series, as Prometheus: ?match[]=&start=&end= (scope admin)"),
    ("POST", "/api/v1/admin/tsdb/clean_tombstones", "the same as compact, and waits for it (scope admin)"),
    (
        "GET",
        "/api/v1/notifications",
        "what was told, what was not, and why: receiver=&event=&alert=&start=&end=&limit= (scope read)",
    ),
    ("POST", "/api/v1/pagerduty/webhook", "what PagerDuty tells of incidents, signed by it (no token)"),
    ("POST", "/-/reload", "read the files of rules and notifications anew (scope admin)"),
    ("GET", "/", "this page: how the server does, for people; /endpoints lists these (scope read)"),
    (
        "GET",
        "/graph",
        "PromQL for people, as Prometheus' own page: g0.expr=&g0.tab=&g0.range_input=&g0.end_input= (scope read)",
    ),
    ("GET", "/sql", "SQL for people: query= (scope read)"),
    ("GET, POST", "/login", "a browser shows a token; POST /logout ends its session (no token)"),
    ("GET", "/-/healthy", "is the process alive?"),
    ("GET", "/-/ready", "does it take reads and writes?"),
];

/// The process is alive, also while it recovers.
pub(super) async fn healthy() -> &'static str {
    "streamgauge is healthy\n"
}

/// Reads and writes are taken.
pub(super) async fn ready(State(shared): State<Shared>) -> Response {
    let Some(open) = shared.open.get() else { return starting() };
    match open.storage.healthy() {
        Ok(()) => "streamgauge is ready\n".into_response(),
        Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.chain()),
    }
}

/// The answer until storage is open.
pub(super) fn starting() -> Response {
    let reason = "starting: the log is being read; nothing that was acknowledged is lost";
    let mut response = refusal(StatusCode::SERVICE_UNAVAILABLE, "unavailable", reason);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(super) async fn metrics(State(shared): State<Shared>) -> Response {
    match TextEncoder::new().encode_to_string(&shared.registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()),
    }
}

/// In the shape of Prometheus, whose clients ask for it; values that make no sense here say so.
pub(super) async fn build_info() -> Json<serde_json::Value> {
    let data = json!({
        "version": VERSION,
        "revision": REVISION,
        "branch": "unknown",
        "buildUser": "unknown",
        "buildDate": "unknown",
        "goVersion": "none (built with Rust)",
        "application": "Streamgauge",
        // Grafana edits rules if it reads this.
        "features": { "ruler_config_api": "true", "alertmanager_config_api": "false" },
    });
    Json(json!({"status": "success", "data": data}))
}
