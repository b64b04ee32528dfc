//! What Prometheus tells of its own process, told of ours: settings, flags, runtime, how far the start is.
//!
//! Routed by `http`, before storage is open too. Flags are those of Prometheus that have a counterpart among our settings: clients
//! read limits and retention from them.
//!
//! Invariant: no secret is told. Spec: <https://prometheus.io/docs/prometheus/latest/querying/api/#status>

use std::{collections::BTreeMap, env, fs, num::NonZeroUsize, sync::Arc, thread::available_parallelism};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use storage::Clock;

use super::{Shared, process};
use crate::config::{Config, units::Span};

/// What is known of the process from its start. Cheap to clone.
#[derive(Clone)]
pub struct About(Arc<Facts>);

struct Facts {
    yaml: String,
    flags: BTreeMap<&'static str, String>,
    retention: String,
    memory: u64,
    /// Do browsers come by TLS, to here or to what stands before?
    secure: bool,
    external_url: Option<String>,
    started_us: i64,
    clock: Clock,
}

impl About {
    /// A process that starts now with these settings.
    ///
    /// # Errors
    /// None in practice: the settings were YAML before.
    pub fn new(config: &Config, clock: Clock) -> anyhow::Result<Self> {
        let samples = schemas::samples();
        let days = config.storage.retention_days.get(samples.name).copied().unwrap_or(samples.retention_days);
        let retention = format!("{days}d");
        let external_url = config.alerting.external_url.clone();
        let is_https = external_url.as_ref().is_some_and(|url| url.starts_with("https://"));
        Ok(Self(Arc::new(Facts {
            yaml: config.shown.yaml()?,
            flags: flags(config, &retention),
            retention,
            memory: config.memory.total,
            secure: config.tls.is_some() || is_https,
            external_url,
            started_us: clock.now_us(),
            clock,
        })))
    }
}

impl About {
    /// Do browsers come by TLS?
    pub(super) fn is_secure(&self) -> bool {
        self.0.secure
    }

    /// Where the server is found, if the settings say so.
    pub(super) fn external_url(&self) -> Option<&str> {
        self.0.external_url.as_deref()
    }

    /// Now, and when the process started, microseconds.
    pub(super) fn times_us(&self) -> (i64, i64) {
        (self.0.clock.now_us(), self.0.started_us)
    }

    /// What it may take of memory, bytes.
    pub(super) fn memory(&self) -> u64 {
        self.0.memory
    }

    /// How long samples are kept.
    pub(super) fn retention(&self) -> &str {
        &self.0.retention
    }
}

fn flags(config: &Config, retention: &str) -> BTreeMap<&'static str, String> {
    let query::Config { promql, timeout_ms, concurrent_max, .. } = &config.query;
    let on = [
        (promql.features.experimental_functions, "promql-experimental-functions"),
        (promql.features.delayed_name_removal, "promql-delayed-name-removal"),
        (promql.features.fill, "promql-binop-fill-modifiers"),
        (promql.features.type_and_unit, "type-and-unit-labels"),
        (promql.features.start_timestamps, "use-start-timestamps"),
        (promql.syntax.unquoted_utf8, "promql-unquoted-utf8-names"),
    ];
    let features: Vec<&str> = on.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    let milliseconds = |ms: u64| Span(std::time::Duration::from_millis(ms)).to_string();
    let samples_max = promql.samples_max.to_string();
    BTreeMap::from([
        ("config.file", config.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()),
        ("enable-feature", features.join(",")),
        ("log.format", config.log.format.name().to_owned()),
        ("log.level", config.log.level.clone()),
        ("query.lookback-delta", milliseconds(promql.lookback_ms.unsigned_abs())),
        ("query.max-concurrency", concurrent_max.to_string()),
        ("query.max-samples", samples_max.clone()),
        ("query.timeout", milliseconds(*timeout_ms)),
        ("storage.remote.read-sample-limit", samples_max),
        ("storage.tsdb.path", config.storage.data_dir.display().to_string()),
        ("storage.tsdb.retention.time", retention.to_owned()),
        ("web.enable-admin-api", "true".to_owned()),
        ("web.enable-lifecycle", "false".to_owned()),
        ("web.enable-remote-write-receiver", "true".to_owned()),
        ("web.listen-address", config.listen.to_string()),
        ("web.max-connections", super::listen::CONNECTIONS_MAX.to_string()),
    ])
}

fn success(data: &Value) -> Response {
    Json(json!({ "status": "success", "data": data })).into_response()
}

pub(super) async fn config(State(shared): State<Shared>) -> Response {
    success(&json!({ "yaml": shared.about.0.yaml }))
}

pub(super) async fn flags_in_force(State(shared): State<Shared>) -> Response {
    success(&json!(shared.about.0.flags))
}

/// The names are those of Go's runtime; what we have no counterpart of is empty.
pub(super) async fn runtime_info(State(shared): State<Shared>) -> Response {
    let facts = &shared.about.0;
    let time = |us: i64| {
        let time = DateTime::from_timestamp_micros(us).unwrap_or_default();
        time.to_rfc3339_opts(SecondsFormat::Millis, true)
    };
    let started = time(facts.started_us);
    let folder = env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    success(&json!({
        "startTime": started,
        "CWD": folder,
        "hostname": host.trim(),
        "serverTime": time(facts.clock.now_us()),
        // Settings are read at the start, and only right ones start a server.
        "reloadConfigSuccess": true,
        "lastConfigTime": started,
        // Damage that is found ends the start or is an error that names the file.
        "corruptionCount": 0,
        "goroutineCount": process::threads().unwrap_or(0),
        "GOMAXPROCS": available_parallelism().map_or(1, NonZeroUsize::get),
        "GOMEMLIMIT": facts.memory,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": facts.retention,
    }))
}

/// One step, which is done when the log was read: how many segments are still to come is not known from outside.
pub(super) async fn wal_replay(State(shared): State<Shared>) -> Response {
    success(&json!({ "min": 0, "max": 1, "current": u8::from(shared.open.get().is_some()) }))
}
