//! PagerDuty: events of a group, which are one incident there until it ends, and changes, which are none.
//!
//! Called by the facade. Invariants: a group has one key for as long as it lives, so that an event may be
//! sent twice; it is resolved only when nothing of it fires, told or not; a body is within what PagerDuty takes, whatever alerts say; no
//! event is refused because a template made a severity that PagerDuty does not know. Not here: what PagerDuty tells us (`inbound`).
//! Spec: Events API v2, <https://developer.pagerduty.com/docs/events-api-v2-overview>.

pub mod inbound;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json as value};

use super::{
    Answer, Notification, Render, Request,
    digest::sha256_hex,
    expand, expand_secret,
    http::{json, judged, post_json},
    text::{one_line, rendered, truncated},
};
use crate::{
    Error, Result,
    alertmanager::Delivered,
    config::{
        built::{PagerDuty, PagerDutyLink},
        values::Secret,
    },
    dedup::Reason,
    outbox::Verdict,
};

const SUMMARY_CHARS_MAX: usize = 1_024;
/// Other texts beside details; nobody reads longer ones, and a body of them is never too large.
const TEXT_CHARS_MAX: usize = 1_024;
const BODY_BYTES_MAX: usize = 512_000;
/// Without a word of when, it wants to be left alone for some time: its window is a minute.
const LIMITED_MS: i64 = 60_000;
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];
/// Where keys of the older API go.
const OLD_URL: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";
const TOO_LARGE: &str = "details were left out: with them the event would be larger than 512 kB";

type Text<'a> = &'a dyn Fn(&str) -> Result<String>;

/// The key of a group's incident.
#[must_use]
pub fn dedup_key(group_key: &str) -> String {
    sha256_hex(group_key)
}

/// The request that tells a notification.
///
/// # Errors
/// `Invalid` if a template cannot be rendered or the key is empty, `Unavailable` if a secret cannot be read.
pub fn request(config: &PagerDuty, notification: &Notification, render: &dyn Render) -> Result<Request> {
    let text = expand(render, notification);
    let (mut event, url, details_at) = match &config.service_key {
        Some(key) => (old_event(config, notification, &key_of(key, &text)?, &text)?, OLD_URL.to_owned(), "/details"),
        None => {
            let key = config.routing_key.as_ref().ok_or_else(|| Error::invalid("there is no `routing_key`"))?;
            let url = config.url.as_ref().ok_or_else(|| Error::invalid("there is no `url`"))?.as_str();
            let key = key_of(key, &text)?;
            let (event, url) = match config.change_events {
                Some(true) => (change(config, notification, &key, &text)?, change_url(url)),
                _ => (event(config, notification, &key, &text)?, url.to_owned()),
            };
            (event, url, "/payload/custom_details")
        }
    };
    let mut body = json(&event)?;
    if body.len() > BODY_BYTES_MAX {
        if let Some(details) = event.pointer_mut(details_at) {
            *details = value!({ "error": TOO_LARGE });
        }
        body = json(&event)?;
    }
    post_json(url, body, config.http_config.as_ref(), Some(config.timeout))
}

/// A request that says only what is done with the incident of a group: `acknowledge` or `resolve`. Its alerts may be gone by now: nothing
/// is told of them.
///
/// # Errors
/// As of [`request`].
pub fn step(config: &PagerDuty, action: &str, notification: &Notification, render: &dyn Render) -> Result<Request> {
    let text = expand(render, notification);
    let dedup_key = dedup_key(&notification.group_key);
    let (event, url) = match (&config.service_key, &config.routing_key, &config.url) {
        (Some(key), ..) => {
            let key = key_of(key, &text)?;
            (value!({ "service_key": key, "event_type": action, "incident_key": dedup_key }), OLD_URL)
        }
        (None, Some(key), Some(url)) => {
            let key = key_of(key, &text)?;
            (value!({ "routing_key": key, "event_action": action, "dedup_key": dedup_key }), url.as_str())
        }
        _ => return Err(Error::invalid("there is no `routing_key`, or no `url`")),
    };
    post_json(url.to_owned(), json(&event)?, config.http_config.as_ref(), Some(config.timeout))
}

/// Is a notification a change, for who is told of changes? That something goes on, or ended, is none.
#[must_use]
pub fn is_change(notification: &Notification) -> bool {
    matches!(notification.reason, Reason::First | Reason::NewAlerts) || !notification.untold.is_empty()
}

/// Where changes go, in the region where events go.
fn change_url(url: &str) -> String {
    url.strip_suffix("/enqueue").map_or_else(|| url.to_owned(), |base| format!("{base}/change/enqueue"))
}

/// Something that changed: it is shown beside incidents and calls nobody. It has no key: the same twice is two changes.
fn change(config: &PagerDuty, notification: &Notification, key: &str, text: Text<'_>) -> Result<Value> {
    let short = |template: &str| text(template).map(|text| truncated(&text, TEXT_CHARS_MAX));
    let source = Some(short(&config.source)?).filter(|source| !source.is_empty());
    // When the newest of them began.
    let at_ms = notification.alerts.iter().map(|alert| alert.starts_ms).max().unwrap_or(notification.now_ms);
    let at = DateTime::from_timestamp_millis(at_ms).unwrap_or_default();
    let payload = value!({
        "summary": summary(config, notification, text)?,
        "source": source.unwrap_or_else(|| notification.external_url.to_string()),
        "timestamp": at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        "custom_details": details(config, text)?,
    });
    let mut event = Map::new();
    event.insert("routing_key".to_owned(), key.into());
    event.insert("payload".to_owned(), payload);
    insert_list(&mut event, "links", links(config, &short)?, "href");
    Ok(Value::Object(event))
}

fn links(config: &PagerDuty, short: Text<'_>) -> Result<Vec<Value>> {
    let link = |link: &PagerDutyLink| Ok(value!({ "href": short(&link.href)?, "text": short(&link.text)? }));
    config.links.iter().map(link).collect()
}

fn key_of(secret: &Secret, text: Text<'_>) -> Result<String> {
    let key = expand_secret(text, secret, "key")?;
    if key.is_empty() { Err(Error::invalid("the key is empty once its template is rendered")) } else { Ok(key) }
}

fn event(config: &PagerDuty, notification: &Notification, key: &str, text: Text<'_>) -> Result<Value> {
    let short = |template: &str| text(template).map(|text| truncated(&text, TEXT_CHARS_MAX));
    let severity = text(&config.severity)?.trim().to_lowercase();
    let severity = SEVERITIES.into_iter().find(|known| **known == severity).unwrap_or("error");
    let source = Some(short(&config.source)?).filter(|source| !source.is_empty());
    let mut payload = Map::new();
    payload.insert("summary".to_owned(), summary(config, notification, text)?.into());
    // An event needs a source.
    payload.insert("source".to_owned(), source.unwrap_or_else(|| notification.external_url.to_string()).into());
    payload.insert("severity".to_owned(), severity.into());
    for (name, template) in [("class", &config.class), ("component", &config.component), ("group", &config.group)] {
        insert(&mut payload, name, short(template)?);
    }
    payload.insert("custom_details".to_owned(), details(config, text)?);

    let mut event = Map::new();
    event.insert("routing_key".to_owned(), key.into());
    event.insert("event_action".to_owned(), if notification.is_firing() { "trigger" } else { "resolve" }.into());
    event.insert("dedup_key".to_owned(), dedup_key(&notification.group_key).into());
    event.insert("payload".to_owned(), Value::Object(payload));
    insert(&mut event, "client", short(&config.client)?);
    insert(&mut event, "client_url", short(&config.client_url)?);
    let images = config
        .images
        .iter()
        .map(|image| Ok(value!({ "src": short(&image.src)?, "alt": short(&image.alt)?, "href": short(&image.href)? })));
    insert_list(&mut event, "images", images.collect::<Result<_>>()?, "src");
    insert_list(&mut event, "links", links(config, &short)?, "href");
    Ok(Value::Object(event))
}

/// An event of the older API.
fn old_event(config: &PagerDuty, notification: &Notification, key: &str, text: Text<'_>) -> Result<Value> {
    let mut event = Map::new();
    event.insert("service_key".to_owned(), key.into());
    event.insert("event_type".to_owned(), if notification.is_firing() { "trigger" } else { "resolve" }.into());
    event.insert("incident_key".to_owned(), dedup_key(&notification.group_key).into());
    event.insert("description".to_owned(), summary(config, notification, text)?.into());
    event.insert("details".to_owned(), details(config, text)?);
    if notification.is_firing() {
        insert(&mut event, "client", truncated(&text(&config.client)?, TEXT_CHARS_MAX));
        insert(&mut event, "client_url", truncated(&text(&config.client_url)?, TEXT_CHARS_MAX));
    }
    Ok(Value::Object(event))
}

fn summary(config: &PagerDuty, notification: &Notification, text: Text<'_>) -> Result<String> {
    let summary = text(&config.description)?;
    // An event needs a summary.
    let summary = if summary.trim().is_empty() { one_line(&notification.group_key) } else { summary };
    Ok(truncated(&notification.titled(&summary), SUMMARY_CHARS_MAX))
}

fn details(config: &PagerDuty, text: Text<'_>) -> Result<Value> {
    let details: Map<String, Value> = config.details.iter().map(|(name, of)| (name.clone(), of.clone())).collect();
    rendered(&Value::Object(details), text)
}

fn insert(event: &mut Map<String, Value>, name: &str, text: String) {
    if !text.is_empty() {
        event.insert(name.to_owned(), text.into());
    }
}

/// Those of which what is needed is there.
fn insert_list(event: &mut Map<String, Value>, name: &str, mut all: Vec<Value>, needed: &str) {
    all.retain(|one| one[needed] != "");
    if !all.is_empty() {
        event.insert(name.to_owned(), all.into());
    }
}

/// What an answer means, and the key of the incident.
#[must_use]
pub fn delivered(config: &PagerDuty, answer: &Answer) -> Delivered {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let why = |answer: &Answer| {
        let errors: Vec<&str> = said["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match said["message"].as_str() {
            Some(message) => truncated(&format!("{message}: {}", errors.join(", ")), 500),
            None => answer.text(),
        }
    };
    let is_limited = answer.status == 429 || (answer.status == 403 && config.service_key.is_some());
    let verdict = match judged(answer, why) {
        verdict if !is_limited => verdict,
        Verdict::Limited(_, why) | Verdict::Refused(why) => {
            Verdict::Limited(answer.retry_after_ms.unwrap_or(LIMITED_MS), why)
        }
        verdict => verdict,
    };
    let key = said["dedup_key"].as_str().or(said["incident_key"].as_str());
    let answer = match (&verdict, key) {
        (Verdict::Sent, Some(key)) => self::answer(key),
        _ => String::new(),
    };
    Delivered { verdict, answer }
}

/// What is kept of an answer: the key of the group's incident.
pub(crate) fn answer(dedup_key: &str) -> String {
    value!({ "dedup_key": dedup_key }).to_string()
}

#[cfg(test)]
mod tests;
