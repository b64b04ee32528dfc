//! The settings of rules and notifications: where their files are, and what they know of this program.
//!
//! Called while settings are validated. What is in those files is read by `glue`, at start and whenever they change.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use alerting::{Labels, notify::guard::Allowed, silence::Limits, watch::Watch};
use serde_saphyr::Spanned;

use super::{
    Outside,
    outbound::{self, Heartbeat, Others},
    path,
    queries::Scheduled,
    raw::{self, Refused},
    required, size, span,
    units::Span,
    within,
};

/// Rules that are written through the API, in the data folder.
pub(super) const RULES: &str = "rules";

/// Of rules and notifications.
#[derive(Debug, Clone)]
pub struct Alerting {
    /// The file that says who is told, in Alertmanager's grammar; without one nobody is.
    pub config: Option<PathBuf>,
    /// Patterns of the files with rules.
    pub rules: Vec<String>,
    /// Where rules are kept that are written through the API: `rules` in the data folder.
    pub rules_folder: PathBuf,
    /// How often groups are evaluated that do not say, milliseconds.
    pub evaluation_interval_ms: i64,
    /// How far behind the clock groups are evaluated that do not say, milliseconds.
    pub query_offset_ms: i64,
    /// Where this program is found; where it listens, if nothing is said.
    pub external_url: Option<String>,
    /// Labels of all alerts that rules make.
    pub external_labels: Labels,
    /// Networks that are not public, and may be told something nevertheless.
    pub allowed: Allowed,
    /// Other Alertmanagers that are told of alerts of rules and watches.
    pub others: Others,
    /// Where life is reported to.
    pub heartbeat: Option<Heartbeat>,
    /// What has to arrive.
    pub watches: Vec<Watch>,
    /// The file with the secrets of PagerDuty's webhooks, one a line; without one it tells us nothing.
    pub pagerduty_secrets_file: Option<PathBuf>,
    /// How much a silence may silence.
    pub silences: Limits,
    /// How long before its end somebody is reminded of a silence, milliseconds; 0 for never.
    pub remind_before_ms: i64,
    /// Saved queries that are asked at times, and who is told the answers.
    pub scheduled: Vec<Scheduled>,
}

impl raw::Alerting {
    pub(super) fn validate(self, data_dir: &Path, outside: &Outside<'_>) -> Result<Alerting, Refused> {
        let origin = outside.origin;
        let key = |name: &str| format!("alerting.{name}");
        let interval = required(origin, &key("evaluation_interval"), self.evaluation_interval)?;
        let offset = required(origin, &key("query_offset"), self.query_offset)?;
        let external_url = self.external_url.map(|url| external_url(origin, &url)).transpose()?;
        let networks = self.allowed_networks.unwrap_or_default();
        let mut allowed = Vec::new();
        for network in &networks {
            Allowed::parse([network.value.as_str()]).map_err(|reason| Refused::at(origin, network, reason))?;
            allowed.push(network.value.as_str());
        }
        let external_labels = external_labels(origin, &self.external_labels.unwrap_or_default())?;
        let for_all = self.alert_relabel_configs.unwrap_or_default();
        let (silences, remind_before_ms) = required(origin, &key("silences"), self.silences)?.validate(origin)?;
        Ok(Alerting {
            others: outbound::others(outside, self.alertmanagers.unwrap_or_default(), for_all)?,
            heartbeat: self.heartbeat.map(|beat| outbound::heartbeat(outside, beat)).transpose()?,
            watches: outbound::watches(origin, self.watch.unwrap_or_default(), &external_labels)?,
            silences,
            remind_before_ms,
            // Those of `queries`, which are read after this.
            scheduled: Vec::new(),
            config: self.config.map(|file| path(origin, file)).transpose()?,
            rules: self.rules.unwrap_or_default().into_iter().map(|rules| rules.value).collect(),
            rules_folder: data_dir.join(RULES),
            evaluation_interval_ms: within(origin, &interval, span(1)..=span(86_400))?.millis(),
            query_offset_ms: within(origin, &offset, Span(Duration::ZERO)..=span(3_600))?.millis(),
            external_url,
            external_labels,
            allowed: Allowed::parse(allowed).map_err(|reason| Refused::whole(origin, reason))?,
            pagerduty_secrets_file: self.pagerduty_secrets_file.map(|file| path(origin, file)).transpose()?,
        })
    }
}

impl raw::Silences {
    fn validate(self, origin: &str) -> Result<(Limits, i64), Refused> {
        let key = |name: &str| format!("alerting.silences.{name}");
        let duration = required(origin, &key("duration_max"), self.duration_max)?;
        let silences = required(origin, &key("silences_max"), self.silences_max)?;
        let remind = required(origin, &key("remind_before"), self.remind_before)?;
        let alerts_max = self.alerts_max.map(|count| within(origin, &count, 1..=1_000_000)).transpose()?;
        let limits = Limits {
            duration_ms_max: within(origin, &duration, span(60)..=span(3_650 * 86_400))?.millis(),
            silences_max: size(within(origin, &silences, 1..=1_000_000)?),
            alerts_max: alerts_max.map(size),
            ..Limits::default()
        };
        // They are looked at every minute.
        let before = if remind.value == Span(Duration::ZERO) {
            remind.value
        } else {
            within(origin, &remind, span(60)..=span(7 * 86_400))?
        };
        Ok((limits, before.millis()))
    }
}

fn external_url(origin: &str, written: &Spanned<String>) -> Result<String, Refused> {
    let url = written.value.trim_end_matches('/');
    match url.parse::<axum::http::Uri>() {
        Ok(uri) if uri.host().is_some() && matches!(uri.scheme_str(), Some("http" | "https")) => Ok(url.to_owned()),
        _ => Err(Refused::at(origin, written, "no address: write https://streamgauge.example.org")),
    }
}

fn external_labels(origin: &str, written: &BTreeMap<String, Spanned<String>>) -> Result<Labels, Refused> {
    for (name, value) in written {
        if name.is_empty() || name == "__name__" {
            return Err(Refused::at(origin, value, format!("`{name}` is no name of a label")));
        }
    }
    Ok(written.iter().map(|(name, value)| (name.as_str(), value.value.as_str())).collect())
}
