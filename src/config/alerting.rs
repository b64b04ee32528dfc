//! The settings of rules and notifications: where their files are, and what they know of this program.
//!
//! Called while settings are validated. What is in those files is read by `glue`, at start and whenever they change.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use alerting::{Labels, notify::guard::Allowed};
use serde_saphyr::Spanned;

use super::{
    path,
    raw::{self, Refused},
    required, span,
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
}

impl raw::Alerting {
    pub(super) fn validate(self, data_dir: &Path, origin: &str) -> Result<Alerting, Refused> {
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
        Ok(Alerting {
            config: self.config.map(|file| path(origin, file)).transpose()?,
            rules: self.rules.unwrap_or_default().into_iter().map(|rules| rules.value).collect(),
            rules_folder: data_dir.join(RULES),
            evaluation_interval_ms: within(origin, &interval, span(1)..=span(86_400))?.millis(),
            query_offset_ms: within(origin, &offset, Span(std::time::Duration::ZERO)..=span(3_600))?.millis(),
            external_url,
            external_labels: external_labels(origin, &self.external_labels.unwrap_or_default())?,
            allowed: Allowed::parse(allowed).map_err(|reason| Refused::whole(origin, reason))?,
        })
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
