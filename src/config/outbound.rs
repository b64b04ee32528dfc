//! Other Alertmanagers that are told of alerts, the heartbeat, and watches.
//!
//! Called while settings are validated. Targets are relabelled here, once: they are written down, and nothing discovers others. Files of
//! secrets are read when they are used. Invariants: no secret is in an error; what an entry asks for and nobody would do is refused, since
//! without it somebody else would be spoken to, or nobody.
//! Spec: <https://prometheus.io/docs/prometheus/latest/configuration/configuration/#alertmanager_config>

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use alerting::{
    ALERTNAME, Labels, Matchers, Mode,
    config::{
        http::HttpConfig,
        values::{HIDDEN, Secret},
    },
    forward::PATH,
    watch,
};
use ingest::remote_write::Relabel;
use serde_saphyr::Spanned;

use super::{
    Outside,
    alerting::Alerting,
    raw::{self, Refused, outbound},
    rules::relabel,
    span,
    units::Span,
    within,
};

/// Alertmanagers that are told at most: each has a queue of its own.
const ALERTMANAGERS_MAX: usize = 32;
/// Watches at most: each is looked at for each alert that is posted.
const WATCHES_MAX: usize = 100;

/// Alertmanagers by their addresses.
#[derive(Debug, Clone, Default)]
pub struct Others {
    /// Those that are told.
    pub active: Vec<Other>,
    /// Addresses of those that relabelling took out.
    pub dropped: Vec<String>,
}

/// Another Alertmanager.
#[derive(Debug, Clone)]
pub struct Other {
    /// Where alerts are posted.
    pub url: String,
    /// How it is reached.
    pub http: HttpConfig,
    /// How long a request may take.
    pub timeout: Duration,
    /// What becomes of labels of alerts: for all, and for this one.
    pub relabel: [Relabel; 2],
}

impl Other {
    /// Labels of an alert as this Alertmanager is told of them; none if it is not.
    #[must_use]
    pub fn relabelled(&self, labels: &Labels) -> Option<Labels> {
        self.relabel.iter().filter(|rules| !rules.is_empty()).try_fold(labels.clone(), |labels, rules| {
            let changed = rules.labels(labels.iter())?;
            Some(changed.iter().map(|(name, value)| (&**name, &**value)).collect())
        })
    }
}

/// Where life is reported to.
#[derive(Debug, Clone)]
pub struct Heartbeat {
    /// The address, which may be all that protects it.
    pub url: Secret,
    /// How often.
    pub every: Duration,
    /// How it is reached.
    pub http: HttpConfig,
}

/// Validates `alertmanagers`, with the relabelling of alerts that all have in common.
pub(super) fn others(
    outside: &Outside<'_>,
    entries: Vec<Spanned<outbound::Alertmanagers>>,
    for_all: Vec<Spanned<raw::Relabel>>,
) -> Result<Others, Refused> {
    let (mut others, for_all) = (Others::default(), relabel(outside.origin, for_all)?);
    let mut seen = BTreeSet::new();
    for mut entry in entries {
        let http = http(outside, entry.value.http()).map_err(|why| Refused::at(outside.origin, &entry, why))?;
        let reached = Reached::of(outside.origin, &entry.value)?;
        let targets = relabel(outside.origin, std::mem::take(&mut entry.value.relabel_configs))?;
        let for_this = relabel(outside.origin, std::mem::take(&mut entry.value.alert_relabel_configs))?;
        for group in &entry.value.static_configs {
            for target in &group.targets {
                let refused = |why: &str| Refused::at(outside.origin, target, why);
                let labels = reached.labels(&target.value, &group.labels);
                let Some(relabelled) = targets.labels(labels.iter()) else {
                    others.dropped.push(url(&labels));
                    continue;
                };
                let relabelled = relabelled.iter().map(|(name, value)| (&**name, &**value)).collect();
                let url = checked_url(&relabelled).map_err(refused)?;
                if !seen.insert(url.clone()) {
                    return Err(refused("this Alertmanager is given twice"));
                }
                let (timeout, relabel) = (reached.timeout, [for_all.clone(), for_this.clone()]);
                others.active.push(Other { url, http: http.clone(), timeout, relabel });
                if others.active.len() > ALERTMANAGERS_MAX {
                    return Err(refused(&format!("more Alertmanagers than are told at most, {ALERTMANAGERS_MAX}")));
                }
            }
        }
    }
    Ok(others)
}

/// What an entry says of the way to its targets.
struct Reached {
    scheme: String,
    path: String,
    timeout: Duration,
}

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const ALERTS_PATH: &str = "__alerts_path__";

impl Reached {
    fn of(origin: &str, entry: &outbound::Alertmanagers) -> Result<Self, Refused> {
        let scheme = match &entry.scheme {
            Some(written) if ["http", "https"].contains(&written.value.as_str()) => written.value.clone(),
            Some(written) => return Err(Refused::at(origin, written, "a scheme is http or https")),
            None => "http".to_owned(),
        };
        if let Some(version) = entry.api_version.as_ref().filter(|version| version.value != "v2") {
            return Err(Refused::at(origin, version, "only `v2` of the API is spoken, which all Alertmanagers have"));
        }
        let prefix = entry.path_prefix.as_ref().map_or("", |prefix| prefix.value.trim_matches('/'));
        let path = if prefix.is_empty() { PATH.to_owned() } else { format!("/{prefix}{PATH}") };
        let timeout = match &entry.timeout {
            Some(written) => within(origin, written, Span(Duration::from_millis(100))..=span(300))?.0,
            // As in Prometheus.
            None => Duration::from_secs(10),
        };
        Ok(Self { scheme, path, timeout })
    }

    fn labels(&self, target: &str, of_group: &BTreeMap<String, String>) -> Labels {
        let of_group: Labels = of_group.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        of_group.with([(ADDRESS, target), (SCHEME, &self.scheme), (ALERTS_PATH, &self.path)])
    }
}

fn url(labels: &Labels) -> String {
    format!("{}://{}{}", labels.get(SCHEME), labels.get(ADDRESS), labels.get(ALERTS_PATH))
}

fn checked_url(labels: &Labels) -> Result<String, &'static str> {
    let address = labels.get(ADDRESS);
    let is_odd = |c: char| c.is_whitespace() || "/@?#".contains(c);
    if address.is_empty() || address.contains(is_odd) {
        return Err(
            "no address of an Alertmanager: write `host:port`; a path goes into `path_prefix`, a password into `basic_auth`",
        );
    }
    let url = url(labels);
    let port = address.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
    let is_url = url.parse::<axum::http::Uri>().is_ok_and(|uri| {
        uri.host().is_some_and(|host| !host.is_empty()) && matches!(uri.scheme_str(), Some("http" | "https"))
    });
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    if is_url && has_port { Ok(url) } else { Err("no address of an Alertmanager: write `host:port`") }
}

/// Checks settings of HTTP, and reads the variables that are named in them.
fn http(outside: &Outside<'_>, mut http: HttpConfig) -> Result<HttpConfig, String> {
    http.settle(Path::new(""))?;
    let tls = &http.tls_config;
    let ignored = [
        ("no_proxy", !http.no_proxy.is_empty()),
        ("proxy_connect_header", !http.proxy_connect_header.is_empty()),
        ("tls_config.server_name", !tls.server_name.is_empty()),
        ("tls_config.min_version", !tls.min_version.is_empty()),
        ("tls_config.max_version", !tls.max_version.is_empty()),
    ];
    if let Some((key, _)) = ignored.iter().find(|(_, is_given)| *is_given) {
        return Err(format!("`{key}` is not known here: take it out, or put a proxy that does it in between"));
    }
    let basic = http.basic_auth.as_mut().and_then(|auth| auth.password.as_mut());
    let bearer = http.authorization.as_mut().and_then(|auth| auth.credentials.as_mut());
    let headers = http.http_headers.values_mut().flat_map(|header| &mut header.secrets);
    let key = http.tls_config.key.as_mut();
    let client = http.oauth2.as_mut().and_then(|oauth2| oauth2.client_secret.as_mut());
    for secret in basic.into_iter().chain(bearer).chain(headers).chain(key).chain(client) {
        from_variable(outside, secret)?;
    }
    Ok(http)
}

/// Reads a secret that is `${VARIABLE}` from the environment.
fn from_variable(outside: &Outside<'_>, secret: &mut Secret) -> Result<(), String> {
    let Secret::Text(text) = secret else { return Ok(()) };
    let Some(name) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')) else { return Ok(()) };
    let value = (outside.variables)(name).filter(|value| !value.is_empty());
    *text = value.ok_or_else(|| format!("environment variable `{name}` is not set"))?;
    Ok(())
}

/// Validates `heartbeat`.
pub(super) fn heartbeat(outside: &Outside<'_>, written: Spanned<outbound::Heartbeat>) -> Result<Heartbeat, Refused> {
    let refused = |why: String| Refused::at(outside.origin, &written, why);
    let outbound::Heartbeat { url, url_file, interval, http_config } = &written.value;
    let file = url_file.as_ref().filter(|file| !file.as_os_str().is_empty());
    let mut url = match (url, file) {
        (Some(_), Some(_)) => return Err(refused("at most one of `url` and `url_file` can be given".to_owned())),
        (Some(url), None) => url.clone(),
        (None, Some(file)) => Secret::File(PathBuf::from(file)),
        (None, None) => return Err(refused("a heartbeat needs a `url` or a `url_file`".to_owned())),
    };
    from_variable(outside, &mut url).map_err(refused)?;
    let http = http(outside, http_config.clone()).map_err(refused)?;
    // One in a file is seen when it is used.
    if matches!(url, Secret::Text(_)) {
        alerting::pulse::request(&url, &HttpConfig::default()).map_err(|error| refused(error.to_string()))?;
    }
    let every = match interval {
        Some(interval) => within(outside.origin, interval, span(1)..=span(86_400))?.0,
        None => Duration::from_secs(60),
    };
    Ok(Heartbeat { url, every, http })
}

/// Validates `watch`. Where to look is for whoever knows where we are found.
pub(super) fn watches(
    origin: &str,
    written: Vec<Spanned<outbound::Watch>>,
    external_labels: &Labels,
) -> Result<Vec<watch::Watch>, Refused> {
    let mut watches: Vec<watch::Watch> = Vec::new();
    for entry in written {
        let outbound::Watch { name, matchers, within: most, labels, annotations } = &entry.value;
        let Some(name) = name.as_ref().filter(|name| !name.value.is_empty()) else {
            return Err(Refused::at(origin, &entry, "a watch needs a `name`, which its alert has"));
        };
        if watches.iter().any(|other| other.name == name.value) {
            return Err(Refused::at(origin, name, format!("watch `{}` is given twice", name.value)));
        }
        if watches.len() == WATCHES_MAX {
            return Err(Refused::at(origin, &entry, format!("more watches than there may be, {WATCHES_MAX}")));
        }
        let mut all = Vec::new();
        for text in matchers {
            let parsed = Matchers::parse(&text.value, Mode::Fallback);
            all.extend(parsed.map_err(|error| Refused::at(origin, text, error.to_string()))?.iter().cloned());
        }
        if all.is_empty() {
            let why = "a watch needs `matchers` of what has to arrive, such as `alertname=\"Watchdog\"`";
            return Err(Refused::at(origin, &entry, why));
        }
        if labels.contains_key(ALERTNAME) {
            return Err(Refused::at(origin, &entry, "the name of a watch is its alert's `alertname`"));
        }
        let most = match most {
            Some(written) => within(origin, written, span(1)..=span(30 * 86_400))?,
            None => span(300),
        };
        let texts = |of: &BTreeMap<String, String>| -> Labels {
            of.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
        };
        let (matchers, mut annotations) = (Matchers::from(all), texts(annotations));
        if annotations.is_empty() {
            let summary = format!("no alert {matchers} has arrived for {most}");
            annotations = [("summary", summary.as_str())].into_iter().collect();
        }
        watches.push(watch::Watch {
            name: name.value.clone(),
            matchers,
            within_ms: most.millis(),
            labels: external_labels.with(texts(labels).iter()),
            annotations,
            generator_url: "".into(),
        });
    }
    Ok(watches)
}

/// Shows what would run, a line for each.
pub(super) fn show(alerting: &Alerting, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for other in &alerting.others.active {
        writeln!(f, "alertmanager   {}", other.url)?;
    }
    if let Some(heartbeat) = &alerting.heartbeat {
        writeln!(f, "heartbeat      every {}", Span(heartbeat.every))?;
    }
    for watch in &alerting.watches {
        let within = Span(Duration::from_millis(watch.within_ms.unsigned_abs()));
        writeln!(f, "watch          {}: {} within {within}", watch.name, watch.matchers)?;
    }
    Ok(())
}

/// Hides what is secret in these settings as they are shown.
pub(super) fn hide(alerting: &mut serde_json::Value) {
    if let Some(heartbeat) = alerting.get_mut("heartbeat").filter(|heartbeat| heartbeat.is_object()) {
        if let Some(url) = heartbeat.get_mut("url") {
            *url = HIDDEN.into();
        }
        hide_keys(heartbeat);
    }
    alerting.get_mut("alertmanagers").into_iter().for_each(hide_keys);
}

/// Keys of settings of HTTP that hold secrets. A proxy's address may have a password in it.
const SECRETS: [&str; 9] = [
    "password",
    "credentials",
    "bearer_token",
    "client_secret",
    "client_certificate_key",
    "key",
    "secrets",
    "proxy_url",
    "proxy_connect_header",
];

fn hide_keys(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(all) => all.iter_mut().for_each(hide_keys),
        serde_json::Value::Object(all) => {
            for (key, value) in all {
                if SECRETS.contains(&key.as_str()) {
                    *value = HIDDEN.into();
                } else {
                    hide_keys(value);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
