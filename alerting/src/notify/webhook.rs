//! Webhooks: the whole notification as JSON, as Alertmanager writes it, or a payload of templates.
//!
//! Called by the facade. Invariant: whoever reads Alertmanager's version 4 reads this, field by field and in its order.
//! Spec: <https://prometheus.io/docs/alerting/latest/configuration/#webhook_config>

use chrono::{DateTime, SecondsFormat};
use serde::Serialize;
use serde_json::Value;

use super::{
    Answer, Named, Notification, Render, Request, Shown, expand, expand_secret,
    http::{json, judged, post_json},
    text::rendered,
};
use crate::{Error, Labels, Result, alertmanager::Delivered, config::built::Webhook};

/// What an end that is not known is written as.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    receiver: String,
    status: &'static str,
    alerts: Vec<Item<'a>>,
    #[serde(rename = "notification_reason")]
    reason: &'static str,
    group_labels: &'a Labels,
    common_labels: Labels,
    common_annotations: Labels,
    route_labels: &'a Labels,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    version: &'static str,
    group_key: &'a str,
    truncated_alerts: u64,
    /// Ours: each group of a digest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    digest: Vec<Digested<'a>>,
}

/// What happened to a group since the digest before.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Digested<'a> {
    name: &'a str,
    /// How often its alerts fired.
    times: u64,
    /// For how long, in all.
    seconds: i64,
    /// How many fire still.
    firing: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

/// The request that tells a notification.
///
/// # Errors
/// `Invalid` if a template cannot be rendered, `Unavailable` if a secret cannot be read.
pub fn request(config: &Webhook, notification: &Notification, render: &dyn Render) -> Result<Request> {
    let mut told = notification.clone();
    let alerts_max = usize::try_from(config.max_alerts).ok().filter(|max| *max > 0).unwrap_or(usize::MAX);
    told.alerts.truncate(alerts_max);
    let truncated = notification.alerts.len() - told.alerts.len();
    let text = expand(render, &told);
    let secret = config.url.as_ref().ok_or_else(|| Error::invalid("there is no `url`"))?;
    let url = expand_secret(&text, secret, "url")?;
    let body = match &config.payload {
        Value::Null => json(&message(&told, truncated as u64))?,
        payload => json(&rendered(payload, &text)?)?,
    };
    post_json(url, body, config.http_config.as_ref(), Some(config.timeout))
}

fn message(told: &Notification, truncated_alerts: u64) -> Message<'_> {
    Message {
        receiver: told.receiver_pattern(),
        status: told.status(),
        alerts: told.alerts.iter().map(|alert| item(alert, told.now_ms)).collect(),
        reason: told.reason.text(),
        group_labels: &told.group_labels,
        common_labels: told.common_labels(),
        common_annotations: told.common_annotations(),
        route_labels: &told.route_labels,
        external_url: &told.external_url,
        version: "4",
        group_key: &told.group_key,
        truncated_alerts,
        digest: told.summary.iter().filter(|_| told.is_digest).map(digested).collect(),
    }
}

fn digested(named: &Named) -> Digested<'_> {
    Digested { name: &named.name, times: named.times, seconds: named.fired_ms / 1_000, firing: named.firing }
}

fn item(alert: &Shown, now_ms: i64) -> Item<'_> {
    let is_resolved = alert.is_resolved(now_ms);
    Item {
        status: if is_resolved { "resolved" } else { "firing" },
        labels: &alert.labels,
        annotations: &alert.annotations,
        starts_at: time(alert.starts_ms),
        // Of what fires the end is a guess, which is nobody's business.
        ends_at: if is_resolved { time(alert.ends_ms) } else { NO_TIME.to_owned() },
        generator_url: &alert.generator_url,
        fingerprint: format!("{:016x}", alert.fingerprint),
    }
}

fn time(ms: i64) -> String {
    let Some(time) = DateTime::from_timestamp_millis(ms) else { return NO_TIME.to_owned() };
    let text = time.to_rfc3339_opts(SecondsFormat::AutoSi, false);
    let text = text.trim_end_matches("+00:00");
    // As Go writes it: a fraction has no zeros at its end.
    let text = if text.contains('.') { text.trim_end_matches('0') } else { text };
    format!("{text}Z")
}

/// What an answer means.
#[must_use]
pub fn delivered(answer: &Answer) -> Delivered {
    Delivered { verdict: judged(answer, Answer::text), answer: String::new() }
}

#[cfg(test)]
mod tests;
