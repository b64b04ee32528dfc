//! What PagerDuty tells us: that somebody took an incident, or that it ended there.
//!
//! Called by the endpoint of its webhooks. Invariant: nothing is read before its signature was checked by the caller with
//! [`is_signed`]. Not here: what follows from it. Spec: V3 webhooks, <https://developer.pagerduty.com/docs/verifying-webhook-signatures>.

use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::{
    Error, Result,
    notify::digest::{hex, hmac},
};

/// Signatures that are looked at: while secrets are changed there are two.
const SIGNATURES_MAX: usize = 16;

/// What happened to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IncidentEvent {
    /// It began.
    Triggered,
    /// Somebody took it.
    Acknowledged,
    /// Nobody has it any more.
    Unacknowledged,
    /// It ended.
    Resolved,
    /// It ended too early.
    Reopened,
}

/// An incident of ours, and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// The key of its group, see [`dedup_key`](super::dedup_key).
    pub dedup_key: String,
    /// What happened.
    pub event: IncidentEvent,
    /// When, as PagerDuty writes it.
    pub occurred_at: String,
    /// Who did it; empty if it is not said.
    pub agent: String,
    /// Names the message, which may come twice.
    pub id: String,
}

#[derive(Deserialize)]
struct Message {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    id: String,
    event_type: String,
    #[serde(default)]
    occurred_at: String,
    agent: Option<Agent>,
    data: Option<Data>,
}

#[derive(Deserialize)]
struct Agent {
    summary: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    incident_key: Option<String>,
}

/// Is one of the signatures in `X-PagerDuty-Signature` that of the body with this secret?
#[must_use]
pub fn is_signed(body: &[u8], header: &str, secret: &str) -> bool {
    let expected = hex(&hmac(secret.as_bytes(), body));
    let signatures = header.split(',').take(SIGNATURES_MAX).filter_map(|one| one.trim().strip_prefix("v1="));
    // All are compared, whichever is right.
    let is_one = signatures.fold(false, |is_one, signature| {
        is_one | bool::from(signature.to_ascii_lowercase().as_bytes().ct_eq(expected.as_bytes()))
    });
    is_one && !secret.is_empty()
}

/// Reads a message; none if it is about nothing that we follow.
///
/// # Errors
/// `Invalid` if it is no message of V3 webhooks.
pub fn parse(body: &[u8]) -> Result<Option<Incident>> {
    let message: Message = serde_json::from_slice(body)
        .map_err(|error| Error::invalid("this is no message of PagerDuty's V3 webhooks").caused_by(error))?;
    let Event { id, event_type, occurred_at, agent, data } = message.event;
    let event = match event_type.as_str() {
        "incident.triggered" => IncidentEvent::Triggered,
        "incident.acknowledged" => IncidentEvent::Acknowledged,
        "incident.unacknowledged" => IncidentEvent::Unacknowledged,
        "incident.resolved" => IncidentEvent::Resolved,
        "incident.reopened" => IncidentEvent::Reopened,
        _ => return Ok(None),
    };
    let Some(dedup_key) = data.and_then(|data| data.incident_key) else { return Ok(None) };
    let agent = agent.and_then(|agent| agent.summary).unwrap_or_default();
    Ok(Some(Incident { dedup_key, event, occurred_at, agent, id }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"event":{"id":"01","event_type":"incident.acknowledged","resource_type":"incident",
        "occurred_at":"2026-10-02T18:45:22.169Z","agent":{"type":"user_reference","summary":"Ann"},
        "data":{"id":"PX","type":"incident","status":"acknowledged","incident_key":"abc"}}}"#;

    #[test]
    fn signatures_are_checked_while_secrets_change() {
        let of = |secret: &str| format!("v1={}", hex(&hmac(secret.as_bytes(), BODY)));
        for (header, expected) in [
            (of("s"), true),
            (of("s").to_uppercase().replace("V1", "v1"), true),
            (format!("{}, {}", of("old"), of("s")), true),
            (of("old"), false),
            (of("s").replace("v1=", "v0="), false),
            (of("s")[..30].to_owned(), false),
            (String::new(), false),
            (format!("{}{}", "v1=a,".repeat(40), of("s")), false),
        ] {
            assert_eq!(is_signed(BODY, &header, "s"), expected, "{header}");
        }
        assert!(!is_signed(BODY, &of(""), ""), "a secret that is not set signs nothing");
    }

    #[test]
    fn incidents_are_known_by_their_key() {
        let incident = parse(BODY).unwrap().unwrap();
        assert_eq!((incident.dedup_key.as_str(), incident.event), ("abc", IncidentEvent::Acknowledged));
        assert_eq!((incident.agent.as_str(), incident.id.as_str()), ("Ann", "01"));
        assert_eq!(parse(br#"{"event":{"event_type":"pagey.ping"}}"#).unwrap(), None);
        assert_eq!(parse(br#"{"event":{"event_type":"incident.resolved","data":{}}}"#).unwrap(), None);
        assert!(parse(b"{}").is_err());
    }
}
