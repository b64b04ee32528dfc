//! What PagerDuty tells us: that somebody took an incident, or that it ended there.
//!
//! Called by the endpoint of its webhooks. Invariant: nothing is read before its signature was checked by the caller with
//! [`is_signed`]. Not here: what follows from it (`alertmanager`). Spec: V3 webhooks, <https://developer.pagerduty.com/docs/verifying-webhook-signatures>.

use chrono::DateTime;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::{
    Error, Result,
    incident::Step,
    notify::{
        digest::{hex, hmac, sha256_hex},
        text::{one_line, truncated},
    },
    rows::Event,
};

/// Signatures that are looked at: while secrets are changed there are two.
const SIGNATURES_MAX: usize = 16;
/// Characters of the name of who did it.
const NAME_CHARS_MAX: usize = 200;

#[derive(Deserialize)]
struct Message {
    event: Told,
}

#[derive(Deserialize)]
struct Told {
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
    #[serde(rename = "type")]
    kind: Option<String>,
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

/// Reads a message; none if it is about nothing that we follow. That an incident began is what we told.
///
/// # Errors
/// `Invalid` if it is no message of V3 webhooks.
pub fn parse(body: &[u8]) -> Result<Option<Step>> {
    let message: Message = serde_json::from_slice(body)
        .map_err(|error| Error::invalid("this is no message of PagerDuty's V3 webhooks").caused_by(error))?;
    let Told { id, event_type, occurred_at, agent, data } = message.event;
    let event = match event_type.as_str() {
        "incident.acknowledged" => Event::Acknowledged,
        "incident.unacknowledged" | "incident.reopened" => Event::Unacknowledged,
        "incident.resolved" => Event::Closed,
        _ => return Ok(None),
    };
    let Some(dedup_key) = data.and_then(|data| data.incident_key) else { return Ok(None) };
    let at = DateTime::parse_from_rfc3339(&occurred_at)
        .map_err(|error| Error::invalid("a message of PagerDuty says when: `occurred_at`").caused_by(error))?;
    let (kind, by) = agent.map(|agent| (agent.kind, agent.summary)).unwrap_or_default();
    let is_person = kind.is_some_and(|kind| kind.starts_with("user"));
    let by = by.unwrap_or_default();
    let by = truncated(&one_line(&by), NAME_CHARS_MAX);
    let id = u128::from_str_radix(&sha256_hex(format!("{id}\n{event_type}"))[..32], 16).unwrap_or_default();
    Ok(Some(Step { dedup_key, event, at_ms: at.timestamp_millis(), by, is_person, id }))
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
        let step = parse(BODY).unwrap().unwrap();
        assert_eq!((step.dedup_key.as_str(), step.event, step.by.as_str()), ("abc", Event::Acknowledged, "Ann"));
        let program = String::from_utf8(BODY.to_vec())
            .unwrap()
            .replace("user_reference", "generic_events_api_inbound_integration_reference");
        assert!(step.is_person && !parse(program.as_bytes()).unwrap().unwrap().is_person);
        assert_eq!(step.at_ms, 1_790_966_722_169);
        let other = String::from_utf8(BODY.to_vec()).unwrap().replace("\"01\"", "\"02\"");
        assert_ne!(parse(other.as_bytes()).unwrap().unwrap().id, step.id);
        let of = |event: &str| {
            let body = String::from_utf8(BODY.to_vec()).unwrap().replace("incident.acknowledged", event);
            parse(body.as_bytes()).unwrap().map(|step| step.event)
        };
        assert_eq!((of("incident.resolved"), of("incident.triggered")), (Some(Event::Closed), None));
        assert_eq!(of("incident.reopened"), Some(Event::Unacknowledged));
        assert_eq!(parse(br#"{"event":{"event_type":"pagey.ping"}}"#).unwrap(), None);
        assert_eq!(parse(br#"{"event":{"event_type":"incident.resolved","data":{}}}"#).unwrap(), None);
        assert!(parse(b"{}").is_err());
        let timeless = String::from_utf8(BODY.to_vec()).unwrap().replace("2026-10-02T18:45:22.169Z", "soon");
        assert!(parse(timeless.as_bytes()).is_err());
    }
}
