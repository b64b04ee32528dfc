//! Settings: embedded defaults, the user's file over them, the command line over both; the environment for secrets only.
//!
//! Called by the commands; hands each crate its own `Config`. Raw settings (`raw`, as written, with places) are validated
//! once, here; behind this module every value is good.
//! Invariants: an unknown key or a bad value is an error with `file:line:column` and a hint; a secret is read from the
//! variable the file names and kept as a hash; a server that others can reach has tokens, or was told in so many words that
//! it needs none.
//! Not here: rules for how the crates use their settings, and everything nobody would change, which is a `const` at its use.

pub mod alerting;
pub mod billing;
mod memory;
pub mod outbound;
pub mod page;
pub mod queries;
pub(crate) mod raw;
mod retention;
mod rules;
mod shown;
mod tables;
pub mod units;

use std::{
    fmt::{self, Display, Write as _},
    fs,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde_saphyr::Spanned;

pub use memory::Budget;
use raw::Raw;
pub use raw::Refused;
pub use shown::Shown;
use units::{Size, Span};

use crate::{auth, flight_sql, postgres, telemetry, tls};

const DEFAULTS: &str = include_str!("defaults.yaml");

/// Folder of the data folder in which large queries put what does not fit in memory. Emptied at each start.
const SPILL: &str = "spill";

/// Looks up a variable of the environment.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Every setting, validated.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub listen: SocketAddr,
    /// Of the PostgreSQL protocol.
    pub pg: postgres::Config,
    /// Of Flight SQL.
    pub flight: flight_sql::Config,
    /// Was it said that a reachable server without tokens is meant?
    pub insecure: bool,
    /// Memory and its shares.
    pub memory: Budget,
    /// Certificate and key, if HTTPS is spoken.
    pub tls: Option<tls::Config>,
    /// Tokens.
    pub auth: auth::Config,
    /// Of `storage`.
    pub storage: storage::Config,
    /// Series that are kept for a shorter time than the rest.
    pub retention_rules: Vec<crate::retention::Rule>,
    /// Of remote write.
    pub remote_write: ingest::remote_write::Config,
    /// Bills: how they are loaded, and which are fetched.
    pub billing: billing::Billing,
    /// Of rules and notifications.
    pub alerting: alerting::Alerting,
    /// Of the engine.
    pub query: query::Config,
    /// Of the log.
    pub log: telemetry::Config,
    /// The file they come from, if there is one.
    pub file: Option<PathBuf>,
    /// All of them as they were written.
    pub shown: Shown,
}

/// What the command line sets; over the file.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--pg-listen`
    pub pg_listen: Option<Listening>,
    /// `--flight-listen`
    pub flight_listen: Option<Listening>,
    /// `--insecure`
    pub insecure: bool,
    /// `--log-format`
    pub log_format: Option<telemetry::Format>,
    /// `--log-level`
    pub log_level: Option<String>,
}

/// What validation needs from the outside.
struct Outside<'a> {
    origin: &'a str,
    variables: Variables<'a>,
    memory_limit: u64,
}

impl Config {
    /// Reads the defaults, the user's file and the command line.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Self> {
        let text = file.map(read).transpose()?.unwrap_or_default();
        let origin = file.map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());
        let outside = Outside { origin: &origin, variables: &variable, memory_limit: memory::limit(Path::new("/")) };
        let mut config = Self::read(&text, &outside)?.overridden(overrides)?;
        config.check_exposure()?;
        config.file = file.map(Path::to_owned);
        Ok(config)
    }

    /// How buckets are reached that a command names, wherever the tables are: settings under `s3`, and the AWS environment.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn buckets(file: Option<&Path>) -> Result<storage::S3> {
        let text = file.map(read).transpose()?.unwrap_or_default();
        let origin = file.map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());
        let (defaults, written): (Raw, Raw) = (raw::parse("defaults", DEFAULTS)?, raw::parse(&origin, &text)?);
        Ok(tables::buckets(written.over(defaults).s3, &origin, &variable)?)
    }

    fn read(text: &str, outside: &Outside<'_>) -> Result<Self, Refused> {
        let defaults: Raw = raw::parse("defaults", DEFAULTS)?;
        let written: Raw = raw::parse(outside.origin, text)?;
        let memory = written.memory.clone();
        let mut config = written.over(defaults).validate(outside)?;
        config.shown = Shown::of(DEFAULTS, text);
        config.memory.check(outside.memory_limit).map_err(|reason| match &memory {
            Some(memory) => Refused::at(outside.origin, memory, reason),
            // The one default that can be wrong: for a machine that is too small.
            None => Refused::whole(outside.origin, reason),
        })?;
        Ok(config)
    }

    fn overridden(mut self, overrides: Overrides) -> Result<Self> {
        self.shown.override_with(&overrides);
        let Overrides { data_dir, listen, pg_listen, flight_listen, insecure, log_format, log_level } = overrides;
        if let Some(level) = &log_level {
            telemetry::filter(level).context("--log-level")?;
        }
        if let Some(data_dir) = data_dir {
            self.query.spill_dir = Some(data_dir.join(SPILL));
            self.billing.in_folder(&data_dir);
            self.alerting.rules_folder = data_dir.join(alerting::RULES);
            self.storage.data_dir = data_dir;
        }
        self.listen = listen.unwrap_or(self.listen);
        if let Some(Listening(listen)) = pg_listen {
            self.pg.listen = listen;
        }
        if let Some(Listening(listen)) = flight_listen {
            self.flight.listen = listen;
        }
        self.insecure |= insecure;
        self.log.format = log_format.unwrap_or(self.log.format);
        self.log.level = log_level.unwrap_or(self.log.level);
        Ok(self)
    }

    /// A server that other machines can reach needs tokens, or the word that it is meant to be open.
    fn check_exposure(&self) -> Result<()> {
        let is_far = |address: &SocketAddr| !address.ip().to_canonical().is_loopback();
        let far = [Some(self.listen), self.pg.listen, self.flight.listen].into_iter().flatten().find(is_far);
        let Some(far) = far.filter(|_| !self.auth.is_closed() && !self.insecure) else { return Ok(()) };
        bail!(
            "refusing to listen on {}: other machines could read and write everything there. Either configure tokens \
             (`streamgauge token` makes one, `auth.tokens_file` names the file), or say --insecure if something in front \
             of it checks who comes in",
            far
        )
    }
}

impl Raw {
    fn validate(self, outside: &Outside<'_>) -> Result<Config, Refused> {
        let Self { data_dir, data, roots, s3, cache, .. } = self;
        let Self {
            listen,
            pg,
            flight,
            tenant,
            memory,
            insecure,
            tls,
            auth,
            storage,
            remote_write,
            sql,
            promql,
            queries,
            billing,
            alerting,
            log,
            ..
        } = self;
        let origin = outside.origin;
        let tables = tables::validate(data, roots.unwrap_or_default(), s3, cache, outside)?;
        let budget = Budget::split(required(origin, "memory", memory)?.value, outside.memory_limit);
        let log = required(origin, "log", log)?;
        let level = required(origin, "log.level", log.level)?;
        let data_dir = path(origin, required(origin, "data_dir", data_dir)?)?;
        let spill_dir = data_dir.join(SPILL);
        let alerting = required(origin, "alerting", alerting)?.validate(&data_dir, outside)?;
        let mut billing = required(origin, "billing", billing)?.validate(&data_dir, outside)?;
        telemetry::filter(&level.value).map_err(|error| Refused::at(origin, &level, error.to_string()))?;
        let (storage, retention_rules) = required(origin, "storage", storage)?.validate(
            origin,
            (data_dir, tables),
            tenant_name(origin, required(origin, "tenant", tenant)?)?,
            budget,
        )?;
        let kept = |dataset: &schemas::Dataset| {
            storage.retention_days.get(dataset.name).copied().unwrap_or(dataset.retention_days)
        };
        billing.loads.kept_days = kept(schemas::costs());
        let kept_days = kept(schemas::samples());
        let remote_write = required(origin, "remote_write", remote_write)?.validate(origin, budget)?;
        let promql = required(origin, "promql", promql)?.validate(origin)?;
        let (queries, scheduled) = queries::validate(origin, queries.unwrap_or_default(), promql.syntax)?;
        Ok(Config {
            listen: listen_address(origin, &required(origin, "listen", listen)?)?,
            pg: required(origin, "pg", pg)?.validate(origin)?,
            flight: required(origin, "flight", flight)?.validate(origin)?,
            insecure: insecure.unwrap_or(false),
            memory: budget,
            tls: tls.and_then(|tls| tls.validate(origin).transpose()).transpose()?,
            auth: auth.unwrap_or_default().validate(outside)?,
            storage,
            retention_rules,
            remote_write: ingest::remote_write::Config {
                retention_ms: i64::from(kept_days) * 86_400_000,
                ..remote_write
            },
            query: query::Config {
                tags: billing.loads.tags.clone(),
                queries,
                promql,
                ..required(origin, "sql", sql)?.validate(origin, budget, spill_dir)?
            },
            billing,
            alerting: alerting::Alerting { scheduled, ..alerting },
            log: telemetry::Config { format: required(origin, "log.format", log.format)?, level: level.value },
            file: None,
            shown: Shown::default(),
        })
    }
}

impl raw::Pg {
    fn validate(self, origin: &str) -> Result<postgres::Config, Refused> {
        let listen = required(origin, "pg.listen", self.listen)?;
        let Listening(address) = listening(&listen.value).map_err(|reason| Refused::at(origin, &listen, reason))?;
        let idle = within(origin, &required(origin, "pg.idle", self.idle)?, span(1)..=span(7 * 86_400))?;
        Ok(postgres::Config { listen: address, idle: idle.0 })
    }
}

impl raw::Flight {
    fn validate(self, origin: &str) -> Result<flight_sql::Config, Refused> {
        let listen = required(origin, "flight.listen", self.listen)?;
        let Listening(address) = listening(&listen.value).map_err(|reason| Refused::at(origin, &listen, reason))?;
        Ok(flight_sql::Config { listen: address })
    }
}

impl raw::Tls {
    fn validate(self, origin: &str) -> Result<Option<tls::Config>, Refused> {
        let client_ca = self.client_ca.map(|file| path(origin, file)).transpose()?;
        match (self.cert, self.key) {
            (Some(cert), Some(key)) => {
                Ok(Some(tls::Config { cert: path(origin, cert)?, key: path(origin, key)?, client_ca }))
            }
            (None, None) if client_ca.is_none() => Ok(None),
            (Some(one), None) | (None, Some(one)) => {
                Err(Refused::at(origin, &one, "tls needs both `cert` and `key`, each naming a PEM file"))
            }
            (None, None) => Err(Refused::whole(origin, "tls.client_ca needs `cert` and `key` beside it")),
        }
    }
}

impl raw::Auth {
    fn validate(self, outside: &Outside<'_>) -> Result<auth::Config, Refused> {
        let tokens_file = self.tokens_file.map(|file| path(outside.origin, file)).transpose()?;
        let tokens = auth::tokens(outside.origin, self.tokens.unwrap_or_default(), outside.variables)?;
        Ok(auth::Config { tokens_file, tokens })
    }
}

impl raw::Storage {
    fn validate(
        self,
        origin: &str,
        (data_dir, tables): (PathBuf, storage::Tables),
        tenant: String,
        budget: Budget,
    ) -> Result<(storage::Config, Vec<crate::retention::Rule>), Refused> {
        let key = |name: &str| format!("storage.{name}");
        let flush_bytes = required(origin, &key("flush_bytes"), self.flush_bytes)?;
        let flush_age = required(origin, &key("flush_age"), self.flush_age)?;
        let segment = required(origin, &key("wal_segment_bytes"), self.wal_segment_bytes)?;
        let flush_bytes = within(origin, &flush_bytes, Size(1 << 20)..=Size(4 << 30))?.0;
        // A head that fills before it is committed would refuse writes for no reason: on a small machine, commit earlier.
        let flush_bytes = flush_bytes.min(budget.head / 4);
        let retention_days = retention::days(origin, self.retention.unwrap_or_default())?;
        let rules = retention::rules(origin, self.retention_rules.unwrap_or_default(), &retention_days)?;
        let config = storage::Config {
            data_dir,
            tables,
            tenant,
            flush_bytes: size(flush_bytes),
            flush_age_ms: within(origin, &flush_age, span(1)..=span(3600))?.millis(),
            head_bytes_max: size(budget.head),
            wal_segment_bytes: within(origin, &segment, Size(1 << 20)..=Size(1 << 30))?.0,
            upkeep: true,
            retention_days,
        };
        Ok((config, rules))
    }
}

impl raw::RemoteWrite {
    fn validate(self, origin: &str, budget: Budget) -> Result<ingest::remote_write::Config, Refused> {
        let key = |name: &str| format!("remote_write.{name}");
        let body = required(origin, &key("body_bytes_max"), self.body_bytes_max)?;
        let decoded = required(origin, &key("decoded_bytes_max"), self.decoded_bytes_max)?;
        let labels = required(origin, &key("labels_max"), self.labels_max)?;
        let value = required(origin, &key("label_value_bytes_max"), self.label_value_bytes_max)?;
        let body = within(origin, &body, Size(64 << 10)..=Size(256 << 20))?.0;
        let decoded = within(origin, &decoded, Size(64 << 10)..=Size(1 << 30))?.0;
        let (series_max, series_per_metric_max) =
            rules::limits(origin, self.series_max, self.series_per_metric_max, budget)?;
        Ok(ingest::remote_write::Config {
            body_bytes_max: size(body),
            decoded_bytes_max: size(decoded),
            // At least one request of the largest size fits.
            inflight_bytes_max: size(budget.requests.max(body + decoded)),
            labels_max: size(within(origin, &labels, 1..=1000)?),
            label_value_bytes_max: size(within(origin, &value, Size(64)..=Size(1 << 20))?.0),
            series_max,
            series_per_metric_max,
            rules: rules::rules(origin, self.relabel, self.ha)?,
            ..ingest::remote_write::Config::default()
        })
    }
}

impl raw::Sql {
    fn validate(self, origin: &str, budget: Budget, spill_dir: PathBuf) -> Result<query::Config, Refused> {
        let key = |name: &str| format!("sql.{name}");
        let timeout = required(origin, &key("timeout"), self.timeout)?;
        let rows = required(origin, &key("rows_max"), self.rows_max)?;
        let concurrent = required(origin, &key("concurrent_max"), self.concurrent_max)?;
        let slow = required(origin, &key("slow"), self.slow)?;
        Ok(query::Config {
            memory_bytes: size(budget.queries),
            timeout_ms: within(origin, &timeout, span(1)..=span(3600))?.millis().unsigned_abs(),
            rows_max: size(within(origin, &rows, 1..=1_000_000_000)?),
            concurrent_max: size(within(origin, &concurrent, 1..=1000)?),
            metadata_cache_bytes: size(budget.caches),
            slow_ms: within(origin, &slow, Span(std::time::Duration::ZERO)..=span(3600))?.millis().unsigned_abs(),
            spill_dir: Some(spill_dir),
            ..query::Config::default()
        })
    }
}

impl raw::Promql {
    fn validate(self, origin: &str) -> Result<query::PromqlConfig, Refused> {
        let key = |name: &str| format!("promql.{name}");
        let lookback = required(origin, &key("lookback"), self.lookback)?;
        let series = required(origin, &key("series_max"), self.series_max)?;
        let samples = required(origin, &key("samples_max"), self.samples_max)?;
        let points = required(origin, &key("points_max"), self.points_max)?;
        let (mut features, mut syntax) = (query::Features::default(), query::Syntax::default());
        for feature in self.features.unwrap_or_default() {
            let switch = match feature.value.as_str() {
                "promql-experimental-functions" => &mut features.experimental_functions,
                "promql-binop-fill-modifiers" => &mut features.fill,
                "promql-delayed-name-removal" => &mut features.delayed_name_removal,
                "promql-unquoted-utf8-names" => &mut syntax.unquoted_utf8,
                "use-start-timestamps" => &mut features.start_timestamps,
                "type-and-unit-labels" => &mut features.type_and_unit,
                _ => return Err(Refused::at(origin, &feature, format!("no such feature; there are {FEATURES}"))),
            };
            *switch = true;
        }
        Ok(query::PromqlConfig {
            lookback_ms: within(origin, &lookback, span(1)..=span(86_400))?.millis(),
            series_max: size(within(origin, &series, 1..=1_000_000_000)?),
            samples_max: size(within(origin, &samples, 1..=100_000_000_000)?),
            points_max: size(within(origin, &points, 1..=1_000_000)?),
            features,
            syntax,
        })
    }
}

/// What PromQL keeps behind switches, by the names that Prometheus gives them.
const FEATURES: &str = "promql-experimental-functions, promql-binop-fill-modifiers, promql-delayed-name-removal, \
    promql-unquoted-utf8-names, use-start-timestamps and type-and-unit-labels";

fn listen_address(origin: &str, written: &Spanned<String>) -> Result<SocketAddr, Refused> {
    address(&written.value).map_err(|reason| Refused::at(origin, written, reason))
}

/// Reads an address to listen on; also what `--listen` takes.
///
/// # Errors
/// What is wrong, and how addresses are written.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:").and_then(|port| port.parse().ok()) {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    let hint = "write an IP address and a port, like `127.0.0.1:4090`, `0.0.0.0:4090` or `[::1]:4090`";
    text.parse().map_err(|_| format!("`{text}` is no address to listen on: {hint}"))
}

/// Where a protocol beside HTTP is listened for; none if nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listening(pub Option<SocketAddr>);

/// Reads an address to listen on, or `off`; also what `--pg-listen` and `--flight-listen` take.
///
/// # Errors
/// What is wrong, and how addresses are written.
pub fn listening(text: &str) -> Result<Listening, String> {
    if text == "off" {
        return Ok(Listening(None));
    }
    address(text).map(|address| Listening(Some(address))).map_err(|reason| format!("{reason}; or `off`"))
}

/// Tenants are folder names, here and in object stores.
fn tenant_name(origin: &str, written: Spanned<String>) -> Result<String, Refused> {
    let name = &written.value;
    let good = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || name.len() > 64 || !name.chars().all(good) {
        let reason = "a tenant's name has 1 to 64 of the characters a-z A-Z 0-9 - _";
        return Err(Refused::at(origin, &written, reason));
    }
    Ok(written.value)
}

/// A path as written, relative to the working directory.
fn path(origin: &str, written: Spanned<PathBuf>) -> Result<PathBuf, Refused> {
    if written.value.as_os_str().is_empty() {
        return Err(Refused::at(origin, &written, "the path is empty"));
    }
    if written.value.to_string_lossy().contains("${") {
        let reason = "variables are read in secrets only (`token: ${VARIABLE}`): write the path itself";
        return Err(Refused::at(origin, &written, reason));
    }
    Ok(written.value)
}

/// The defaults hold every key, so one can be missing only in the defaults, which a test would notice.
fn required<T>(origin: &str, key: &str, value: Option<T>) -> Result<T, Refused> {
    value.ok_or_else(|| Refused::whole(origin, format!("setting `{key}` is missing")))
}

fn within<T: PartialOrd + Display + Copy>(
    origin: &str,
    written: &Spanned<T>,
    range: RangeInclusive<T>,
) -> Result<T, Refused> {
    if range.contains(&written.value) {
        return Ok(written.value);
    }
    let (value, least, most) = (written.value, range.start(), range.end());
    Err(Refused::at(origin, written, format!("{value} is out of range: {least} to {most}")))
}

fn span(seconds: u64) -> Span {
    Span(std::time::Duration::from_secs(seconds))
}

/// A count of bytes or things in memory. On a machine of 32 bits the address space is the limit.
fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

/// Reads a file of settings, tokens or certificates.
///
/// # Errors
/// If it cannot be read, is too large, or is no text.
pub fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    let opened = fs::File::open(file).and_then(|opened| opened.take(raw::FILE_BYTES_MAX + 1).read_to_string(&mut text));
    let bytes = opened.with_context(|| format!("{} cannot be read", file.display()))?;
    if u64::try_from(bytes)? > raw::FILE_BYTES_MAX {
        bail!("{} is larger than {}", file.display(), Size(raw::FILE_BYTES_MAX));
    }
    Ok(text)
}

/// A variable of the process's environment. The only place that reads them.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "this is the place that reads the environment")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Display for Config {
    /// What would run, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let storage = &self.storage;
        let bytes = |count: usize| Size(u64::try_from(count).unwrap_or(u64::MAX));
        writeln!(f, "address        {scheme}://{}", self.listen)?;
        for (protocol, listen) in [("postgresql", self.pg.listen), ("flight", self.flight.listen)] {
            let address = listen.map_or_else(|| "off".to_owned(), |address| address.to_string());
            writeln!(f, "{protocol:14} {address}")?;
        }
        writeln!(f, "data           {} (tenant {})", storage.data_dir.display(), storage.tenant)?;
        tables::show(&storage.tables, f)?;
        writeln!(f, "memory         {}", self.memory)?;
        let age = Span(std::time::Duration::from_millis(storage.flush_age_ms.unsigned_abs()));
        writeln!(f, "flush          at {} or {age}", bytes(storage.flush_bytes))?;
        for rule in &self.retention_rules {
            writeln!(f, "kept           {}d of {}", rule.days, rule.text)?;
        }
        let ingest::remote_write::Config { series_max, series_per_metric_max, rules, .. } = &self.remote_write;
        let per_metric = match series_per_metric_max {
            &usize::MAX => "any number".to_owned(),
            most => most.to_string(),
        };
        writeln!(f, "series         up to {series_max}, {per_metric} of one metric")?;
        if !rules.relabel.is_empty() {
            writeln!(f, "relabelling    {} rules", rules.relabel.len())?;
        }
        if let Some(ha) = &rules.ha {
            writeln!(f, "HA pairs       named by label {}, their replicas by {}", ha.cluster, ha.replica)?;
        }
        write!(f, "{}", self.billing)?;
        queries::show(&self.query.queries, &self.alerting.scheduled, f)?;
        outbound::show(&self.alerting, f)?;
        if let Some(tls) = &self.tls {
            let clients =
                tls.client_ca.as_ref().map_or_else(String::new, |ca| format!(", clients of {}", ca.display()));
            writeln!(f, "certificate    {}{clients}", tls.cert.display())?;
        }
        write!(f, "access         {}", self.access())
    }
}

impl Config {
    fn access(&self) -> String {
        if !self.auth.is_closed() {
            let whom = if self.listen.ip().to_canonical().is_loopback() { "of this machine" } else { "(--insecure)" };
            return format!("open to everybody {whom}: no tokens are configured");
        }
        let mut text = format!("{} tokens in the settings", self.auth.tokens.len());
        if let Some(file) = &self.auth.tokens_file {
            // Writing to a string cannot fail.
            let _ = write!(text, ", more in {}", file.display());
        }
        text
    }
}

impl Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| Size(bytes >> 20 << 20);
        write!(f, "{}: ", mib(self.total))?;
        write!(f, "{} for recent rows, {} for queries, ", mib(self.head), mib(self.queries))?;
        write!(f, "{} for caches, {} for known series", mib(self.caches), mib(self.series))
    }
}

#[cfg(test)]
mod tests;
