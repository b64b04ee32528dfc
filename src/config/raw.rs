//! Settings as they are written: every one optional, every one with its place in the file.
//!
//! Called by `config`, which lays the user's file over the defaults and validates the result. Unknown keys, doubled keys and
//! values of a wrong type end here, with `file:line:column`.
//! Invariant: no secret is in here but as the name of the variable that holds it, or in a type that does not print it.

pub mod outbound;
pub mod queries;

use std::{collections::BTreeMap, fmt, path::PathBuf};

use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use super::units::{Memory, Size, Span};
use crate::{auth::Scope, telemetry::Format};

/// Largest file of settings or tokens that is read. A thousand tokens take a fifth of it.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why settings are refused, and where: `file:line:column: reason`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    origin: String,
    place: Option<(u64, u64)>,
    reason: String,
}

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    pub data_dir: Option<Spanned<PathBuf>>,
    pub data: Option<Spanned<String>>,
    pub roots: Option<BTreeMap<String, Spanned<String>>>,
    pub s3: Option<S3>,
    pub cache: Option<Cache>,
    pub listen: Option<Spanned<String>>,
    pub pg: Option<Pg>,
    pub flight: Option<Flight>,
    pub tenant: Option<Spanned<String>>,
    pub memory: Option<Spanned<Memory>>,
    pub insecure: Option<bool>,
    pub tls: Option<Tls>,
    pub auth: Option<Auth>,
    pub storage: Option<Storage>,
    pub remote_write: Option<RemoteWrite>,
    pub sql: Option<Sql>,
    pub promql: Option<Promql>,
    pub queries: Option<BTreeMap<String, Spanned<queries::SavedQuery>>>,
    pub billing: Option<Billing>,
    pub alerting: Option<Alerting>,
    pub log: Option<Log>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3 {
    pub endpoint: Option<Spanned<String>>,
    pub region: Option<Spanned<String>>,
    pub path_style: Option<bool>,
    pub allow_http: Option<bool>,
    pub sse: Option<Sse>,
    pub kms_key_id: Option<Spanned<String>>,
    pub request_timeout: Option<Spanned<Span>>,
    pub spool_bytes: Option<Spanned<Size>>,
}

/// Encryption of objects, in the words of S3.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Sse {
    #[serde(rename = "AES256")]
    Aes256,
    #[serde(rename = "aws:kms")]
    Kms,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    pub bytes: Option<Spanned<Size>>,
}

/// The PostgreSQL protocol.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pg {
    pub listen: Option<Spanned<String>>,
    pub idle: Option<Spanned<Span>>,
}

/// Flight SQL.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flight {
    pub listen: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    pub cert: Option<Spanned<PathBuf>>,
    pub key: Option<Spanned<PathBuf>>,
    pub client_ca: Option<Spanned<PathBuf>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    pub tokens_file: Option<Spanned<PathBuf>>,
    pub tokens: Option<Vec<Token>>,
}

/// One token; also an entry of the tokens file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub name: Spanned<String>,
    pub scopes: Spanned<Vec<Scope>>,
    pub expires: Option<Spanned<String>>,
    pub sha256: Option<Spanned<String>>,
    pub token: Option<Spanned<String>>,
    pub scram: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    pub flush_bytes: Option<Spanned<Size>>,
    pub flush_age: Option<Spanned<Span>>,
    pub wal_segment_bytes: Option<Spanned<Size>>,
    pub retention: Option<BTreeMap<String, Spanned<Span>>>,
    pub retention_rules: Option<Vec<Spanned<RetentionRule>>>,
}

/// For how long some series are kept.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionRule {
    #[serde(rename = "match")]
    pub selector: Option<Spanned<String>>,
    pub keep: Option<Spanned<Span>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteWrite {
    pub body_bytes_max: Option<Spanned<Size>>,
    pub decoded_bytes_max: Option<Spanned<Size>>,
    pub labels_max: Option<Spanned<u64>>,
    pub label_value_bytes_max: Option<Spanned<Size>>,
    pub series_max: Option<Spanned<u64>>,
    pub series_per_metric_max: Option<Spanned<u64>>,
    pub relabel: Option<Vec<Spanned<Relabel>>>,
    pub ha: Option<Ha>,
}

/// One rule of relabelling, in Prometheus' words.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Relabel {
    pub source_labels: Option<Spanned<Vec<String>>>,
    pub separator: Option<Spanned<String>>,
    pub regex: Option<Spanned<String>>,
    pub modulus: Option<Spanned<u64>>,
    pub target_label: Option<Spanned<String>>,
    pub replacement: Option<Spanned<String>>,
    pub action: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Ha {
    pub cluster_label: Option<Spanned<String>>,
    pub replica_label: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sql {
    pub timeout: Option<Spanned<Span>>,
    pub rows_max: Option<Spanned<u64>>,
    pub concurrent_max: Option<Spanned<u64>>,
    pub slow: Option<Spanned<Span>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Promql {
    pub lookback: Option<Spanned<Span>>,
    pub series_max: Option<Spanned<u64>>,
    pub samples_max: Option<Spanned<u64>>,
    pub points_max: Option<Spanned<u64>>,
    pub features: Option<Vec<Spanned<String>>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerting {
    pub config: Option<Spanned<PathBuf>>,
    pub rules: Option<Vec<Spanned<String>>>,
    pub evaluation_interval: Option<Spanned<Span>>,
    pub query_offset: Option<Spanned<Span>>,
    pub external_url: Option<Spanned<String>>,
    pub external_labels: Option<BTreeMap<String, Spanned<String>>>,
    pub allowed_networks: Option<Vec<Spanned<String>>>,
    pub alertmanagers: Option<Vec<Spanned<outbound::Alertmanagers>>>,
    pub alert_relabel_configs: Option<Vec<Spanned<Relabel>>>,
    pub heartbeat: Option<Spanned<outbound::Heartbeat>>,
    pub watch: Option<Vec<Spanned<outbound::Watch>>>,
    pub pagerduty_secrets_file: Option<Spanned<PathBuf>>,
    pub silences: Option<Silences>,
}

/// How much a silence may silence, and when somebody is reminded of it.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Silences {
    pub duration_max: Option<Spanned<Span>>,
    pub silences_max: Option<Spanned<u64>>,
    pub alerts_max: Option<Spanned<u64>>,
    pub remind_before: Option<Spanned<Span>>,
}

impl Alerting {
    fn over(self, below: Self) -> Self {
        Self {
            config: self.config.or(below.config),
            rules: self.rules.or(below.rules),
            evaluation_interval: self.evaluation_interval.or(below.evaluation_interval),
            query_offset: self.query_offset.or(below.query_offset),
            external_url: self.external_url.or(below.external_url),
            external_labels: self.external_labels.or(below.external_labels),
            allowed_networks: self.allowed_networks.or(below.allowed_networks),
            alertmanagers: self.alertmanagers.or(below.alertmanagers),
            alert_relabel_configs: self.alert_relabel_configs.or(below.alert_relabel_configs),
            heartbeat: self.heartbeat.or(below.heartbeat),
            watch: self.watch.or(below.watch),
            pagerduty_secrets_file: self.pagerduty_secrets_file.or(below.pagerduty_secrets_file),
            silences: lay(self.silences, below.silences, |top, below| Silences {
                duration_max: top.duration_max.or(below.duration_max),
                silences_max: top.silences_max.or(below.silences_max),
                alerts_max: top.alerts_max.or(below.alerts_max),
                remind_before: top.remind_before.or(below.remind_before),
            }),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Billing {
    pub archive: Option<Spanned<Span>>,
    pub close_after: Option<Spanned<Span>>,
    pub look_every: Option<Spanned<Span>>,
    pub tags: Option<BTreeMap<String, Spanned<Tag>>>,
    pub accounts: Option<Vec<Spanned<Account>>>,
    pub exports: Option<Vec<Spanned<Export>>>,
}

impl Billing {
    fn over(self, below: Self) -> Self {
        Self {
            archive: self.archive.or(below.archive),
            close_after: self.close_after.or(below.close_after),
            look_every: self.look_every.or(below.look_every),
            tags: self.tags.or(below.tags),
            accounts: self.accounts.or(below.accounts),
            exports: self.exports.or(below.exports),
        }
    }
}

/// How one mandatory tag is found.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tag {
    pub aliases: Vec<Alias>,
    pub values: BTreeMap<String, String>,
    pub defaults: Vec<Fallback>,
}

/// A name of a tag, alone or with the days between which it counts.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
pub enum Alias {
    Name(String),
    Dated(DatedAlias),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatedAlias {
    pub key: String,
    #[serde(default)]
    pub from: Option<String>,
    #[serde(default)]
    pub until: Option<String>,
}

/// A value for charges that are not tagged.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fallback {
    pub account: Option<String>,
    pub service: Option<String>,
    pub label: Option<BTreeMap<String, String>>,
    pub value: String,
}

/// Who an account belongs to, for a time.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Account {
    pub id: String,
    pub name: Option<String>,
    pub path: Option<String>,
    pub owner: Option<String>,
    pub environment: Option<String>,
    pub from: Option<String>,
    pub until: Option<String>,
}

/// Bills that are fetched from where a provider delivers them.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    pub name: Option<Spanned<String>>,
    pub from: Option<Spanned<String>>,
    pub provider: Option<ingest::billing::Format>,
    pub azure: Option<ingest::billing::AzurePart>,
    pub amortized_from: Option<Spanned<String>>,
    pub counted: Option<bool>,
    pub assume: BTreeMap<String, String>,
    pub quiet: Option<Spanned<Span>>,
    pub layout: Option<ingest::billing::pull::Layout>,
    pub credentials_prefix: Option<Spanned<String>>,
    pub region: Option<String>,
    pub endpoint: Option<Spanned<String>>,
    pub path_style: Option<bool>,
    pub allow_http: Option<bool>,
    pub assume_role: Option<AssumeRole>,
}

/// A role of another account, which may read the bucket.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssumeRole {
    pub arn: Spanned<String>,
    #[serde(default)]
    pub external_id: Option<Spanned<String>>,
    #[serde(default)]
    pub endpoint: Option<Spanned<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    pub format: Option<Format>,
    pub level: Option<Spanned<String>>,
}

impl Raw {
    /// These settings, and those of `below` where there are none.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let (tls, auth, storage, remote_write, sql, log) =
            (self.tls, self.auth, self.storage, self.remote_write, self.sql, self.log);
        Self {
            data_dir: self.data_dir.or(below.data_dir),
            data: self.data.or(below.data),
            roots: self.roots.or(below.roots),
            s3: lay(self.s3, below.s3, |top, below| S3 {
                endpoint: top.endpoint.or(below.endpoint),
                region: top.region.or(below.region),
                path_style: top.path_style.or(below.path_style),
                allow_http: top.allow_http.or(below.allow_http),
                sse: top.sse.or(below.sse),
                kms_key_id: top.kms_key_id.or(below.kms_key_id),
                request_timeout: top.request_timeout.or(below.request_timeout),
                spool_bytes: top.spool_bytes.or(below.spool_bytes),
            }),
            cache: lay(self.cache, below.cache, |top, below| Cache { bytes: top.bytes.or(below.bytes) }),
            listen: self.listen.or(below.listen),
            pg: lay(self.pg, below.pg, |top, below| Pg {
                listen: top.listen.or(below.listen),
                idle: top.idle.or(below.idle),
            }),
            flight: lay(self.flight, below.flight, |top, below| Flight { listen: top.listen.or(below.listen) }),
            tenant: self.tenant.or(below.tenant),
            memory: self.memory.or(below.memory),
            insecure: self.insecure.or(below.insecure),
            tls: lay(tls, below.tls, |top, below| Tls {
                cert: top.cert.or(below.cert),
                key: top.key.or(below.key),
                client_ca: top.client_ca.or(below.client_ca),
            }),
            auth: lay(auth, below.auth, |top, below| Auth {
                tokens_file: top.tokens_file.or(below.tokens_file),
                tokens: top.tokens.or(below.tokens),
            }),
            storage: lay(storage, below.storage, |top, below| Storage {
                flush_bytes: top.flush_bytes.or(below.flush_bytes),
                flush_age: top.flush_age.or(below.flush_age),
                wal_segment_bytes: top.wal_segment_bytes.or(below.wal_segment_bytes),
                retention: top.retention.or(below.retention),
                retention_rules: top.retention_rules.or(below.retention_rules),
            }),
            remote_write: lay(remote_write, below.remote_write, RemoteWrite::over),
            sql: lay(sql, below.sql, |top, below| Sql {
                timeout: top.timeout.or(below.timeout),
                rows_max: top.rows_max.or(below.rows_max),
                concurrent_max: top.concurrent_max.or(below.concurrent_max),
                slow: top.slow.or(below.slow),
            }),
            promql: lay(self.promql, below.promql, |top, below| Promql {
                lookback: top.lookback.or(below.lookback),
                series_max: top.series_max.or(below.series_max),
                samples_max: top.samples_max.or(below.samples_max),
                points_max: top.points_max.or(below.points_max),
                features: top.features.or(below.features),
            }),
            queries: self.queries.or(below.queries),
            billing: lay(self.billing, below.billing, Billing::over),
            alerting: lay(self.alerting, below.alerting, Alerting::over),
            log: lay(log, below.log, |top, below| Log {
                format: top.format.or(below.format),
                level: top.level.or(below.level),
            }),
        }
    }
}

impl RemoteWrite {
    fn over(self, below: Self) -> Self {
        let top = self;
        Self {
            body_bytes_max: top.body_bytes_max.or(below.body_bytes_max),
            decoded_bytes_max: top.decoded_bytes_max.or(below.decoded_bytes_max),
            labels_max: top.labels_max.or(below.labels_max),
            label_value_bytes_max: top.label_value_bytes_max.or(below.label_value_bytes_max),
            series_max: top.series_max.or(below.series_max),
            series_per_metric_max: top.series_per_metric_max.or(below.series_per_metric_max),
            relabel: top.relabel.or(below.relabel),
            ha: top.ha.or(below.ha),
        }
    }
}

fn lay<T>(top: Option<T>, below: Option<T>, merge: impl FnOnce(T, T) -> T) -> Option<T> {
    match (top, below) {
        (Some(top), Some(below)) => Some(merge(top, below)),
        (top, below) => top.or(below),
    }
}

/// Reads YAML. `origin` is the file's name as errors show it.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse<'a, T: Deserialize<'a> + Default>(origin: &str, text: &'a str) -> Result<T, Refused> {
    // A file of comments alone holds no document; it says: the defaults.
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(T::default());
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.without_snippet();
        let place = error.location().filter(|at| *at != Location::UNKNOWN).map(|at| (at.line(), at.column()));
        Refused { origin: origin.to_owned(), place, reason: explain(error) }
    })
}

/// The reason in our words where we have better ones than the parser. Text that could hold a secret is not repeated.
fn explain(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    match error {
        Error::SerdeUnknownField { field, expected, .. } => {
            let near = expected
                .iter()
                .min_by_key(|key| distance(field, key))
                .filter(|key| distance(field, key) <= (field.len() / 2).min(3));
            let hint = near.map(|key| format!("did you mean `{key}`? ")).unwrap_or_default();
            format!("unknown key `{field}`; {hint}keys here are {}", expected.join(", "))
        }
        Error::SerdeMissingField { field, .. } => format!("key `{field}` is missing"),
        Error::SerdeUnknownVariant { variant, expected, .. } => {
            format!("`{variant}` is not known here; write one of {}", expected.join(", "))
        }
        Error::SerdeInvalidType { unexpected, expected, .. } => format!("expected {expected}, found {unexpected}"),
        Error::DuplicateMappingKey { key, .. } => {
            format!("key `{}` is given twice", key.as_deref().unwrap_or("?"))
        }
        Error::Unexpected { expected: "mapping start", .. } => "expected keys and values (`key: value`)".to_owned(),
        Error::Unexpected { expected: "sequence start", .. } => "expected a list (`[one, two]`)".to_owned(),
        Error::InvalidScalar { ty, .. } if ty.starts_with("bool") => "expected true or false".to_owned(),
        Error::InvalidScalar { ty, .. } if ty.starts_with('u') => "expected a whole number".to_owned(),
        Error::Message { msg, .. } => msg.clone(),
        other => {
            let text = other.to_string();
            // The place is printed once, in front.
            text.split(" at line ").next().unwrap_or(&text).lines().next().unwrap_or_default().to_owned()
        }
    }
}

/// Edits between two keys.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

impl Refused {
    /// Refuses the value at `at`.
    pub fn at<T>(origin: &str, at: &Spanned<T>, reason: impl Into<String>) -> Self {
        let place = (at.referenced.line(), at.referenced.column());
        Self { origin: origin.to_owned(), place: Some(place), reason: reason.into() }
    }

    /// Refuses the settings as a whole.
    pub fn whole(origin: &str, reason: impl Into<String>) -> Self {
        Self { origin: origin.to_owned(), place: None, reason: reason.into() }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.origin)?;
        if let Some((line, column)) = self.place {
            write!(f, ":{line}:{column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for Refused {}
