//! What PagerDuty is told, and what it says.

use serde_json::json as value;

use super::*;
use crate::notify::{
    Extra, Outgoing, message,
    tests::{Fake, alert, answer, ended, firing, notification, receiver},
};

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn of(config: &str) -> PagerDuty {
    receiver(&format!("  pagerduty_configs: [{config}]")).pagerduty[0].value.clone()
}

fn sent(config: &str, told: &Notification) -> (String, Value) {
    let request = request(&of(config), told, &Fake).unwrap();
    assert!(request.body.len() <= BODY_BYTES_MAX);
    (request.url, serde_json::from_slice(&request.body).unwrap())
}

#[test]
fn an_event_is_that_of_the_api() {
    let config = format!(
        "{{routing_key: {KEY}, description: '{{{{ a summary }}}}', severity: Critical, class: c, component: o, group: g, source: s,
        client: l, client_url: 'http://u', details: {{n: '{{{{ firing }}}}', nested: {{deep: ['{{{{ l alertname }}}}']}},
        firing: f, resolved: r, num_firing: '1', num_resolved: '0'}},
        images: [{{src: 'https://i', alt: a}}, {{src: '{{{{ l none }}}}'}}], links: [{{href: 'https://k', text: t}}, {{href: ''}}]}}"
    );
    let (url, body) = sent(&config, &firing("hot"));
    assert_eq!(url, "https://events.pagerduty.com/v2/enqueue");
    let dedup_key = sha256_hex(r#"{}:{alertname="Hot"}"#);
    let expected = value!({
        "routing_key": KEY,
        "event_action": "trigger",
        "dedup_key": dedup_key,
        "payload": {
            "summary": "hot",
            "source": "s",
            "severity": "critical",
            "class": "c",
            "component": "o",
            "group": "g",
            "custom_details": {
                "firing": "f", "n": 1, "nested": { "deep": ["Hot"] }, "num_firing": 1, "num_resolved": 0, "resolved": "r",
            },
        },
        "client": "l",
        "client_url": "http://u",
        "images": [{ "src": "https://i", "alt": "a", "href": "" }],
        "links": [{ "href": "https://k", "text": "t" }],
    });
    assert_eq!(body.to_string(), expected.to_string());
}

#[test]
fn an_incident_ends_when_nothing_fires_and_nothing_is_held() {
    let config = format!("{{routing_key: {KEY}}}");
    let action = |told: &Notification| sent(&config, told).1["event_action"].clone();
    assert_eq!(action(&firing("x")), "trigger");
    assert_eq!(action(&ended()), "resolve");
    assert_eq!(action(&Notification { has_held: true, ..ended() }), "trigger");
    let mixed = notification(&[alert(&[("a", "1")], "x", true), alert(&[("a", "2")], "x", false)]);
    assert_eq!(action(&mixed), "trigger");
    let (one, other) = (sent(&config, &firing("x")).1, sent(&config, &ended()).1);
    assert_eq!(one["dedup_key"], other["dedup_key"]);
}

#[test]
fn what_is_too_large_or_missing_is_no_reason_not_to_page() {
    let config = format!(
        "{{routing_key: {KEY}, description: '{{{{ a summary }}}}', severity: '{{{{ a summary }}}}', source: '{{{{ l none }}}}',
        details: {{all: '{{{{ a summary }}}}'}}}}"
    );
    let (_, body) = sent(&config, &firing(&"é\u{1}".repeat(300_000)));
    assert_eq!(body["payload"]["custom_details"], value!({ "error": TOO_LARGE }));
    let summary = body["payload"]["summary"].as_str().unwrap();
    assert!(summary.chars().count() == 1_024 && summary.ends_with('…'));
    assert_eq!(body["payload"]["severity"], "error");
    assert_eq!(body["payload"]["source"], "http://am");
    let (_, body) = sent(&config, &firing(""));
    assert_eq!(body["payload"]["summary"], r#"{}:{alertname="Hot"}"#);
    let told = Notification { fallback_of: Some("slack".into()), ..firing("hot") };
    assert_eq!(sent(&config, &told).1["payload"]["summary"], "[slack could not be told] hot");
}

#[test]
fn a_label_never_runs_as_a_template() {
    let config = format!("{{routing_key: {KEY}, details: {{d: '{{{{ a summary }}}}'}}}}");
    let (_, body) = sent(&config, &firing(r#"["{{ l alertname }}"]"#));
    assert_eq!(body["payload"]["custom_details"]["d"], value!(["{{ l alertname }}"]));
}

#[test]
fn keys_of_the_older_api_work() {
    let (url, body) = sent("{service_key: k, description: d, client: c, client_url: u}", &firing("hot"));
    assert_eq!(url, OLD_URL);
    assert_eq!((&body["service_key"], &body["event_type"]), (&value!("k"), &value!("trigger")));
    assert!(body["details"]["num_firing"].is_string() && body["incident_key"].is_string() && body["client"] == "c");
    let error = request(&of("{service_key: '{{ l none }}'}"), &firing("x"), &Fake).unwrap_err();
    assert!(error.message().contains("empty"), "{error}");
}

#[test]
fn an_incident_is_acknowledged_with_its_key_alone() {
    let silenced = Notification { reason: Reason::Silenced, alerts: Vec::new(), has_held: true, ..firing("hot") };
    let acknowledged = |config: &str, told: &Notification| {
        let receiver = receiver(&format!("  pagerduty_configs: [{config}]"));
        let (_, integration) = receiver.integrations().next().unwrap();
        let told = message(integration, told, &Fake, &Extra::default()).unwrap();
        let Some(Outgoing::Http(request)) = told else { panic!("{config}: nothing") };
        (request.url, serde_json::from_slice::<Value>(&request.body).unwrap())
    };
    let dedup_key = dedup_key(&silenced.group_key);
    // It needs no template: what they tell of may be gone.
    let (url, body) = acknowledged(&format!("{{routing_key: {KEY}, description: '{{{{ l none }}}}'}}"), &silenced);
    assert_eq!(url, "https://events.pagerduty.com/v2/enqueue");
    assert_eq!(body, value!({"routing_key": KEY, "event_action": "acknowledge", "dedup_key": dedup_key}));
    let (url, body) = acknowledged("{service_key: k}", &silenced);
    assert_eq!(url, OLD_URL);
    assert_eq!(body, value!({"service_key": "k", "event_type": "acknowledge", "incident_key": dedup_key}));
    // After the silence it ends before it is told again.
    let receiver = receiver(&format!("  pagerduty_configs: [{{routing_key: {KEY}}}]"));
    let (_, integration) = receiver.integrations().next().unwrap();
    let again = Notification { reason: Reason::Unsilenced, ..firing("hot") };
    let ends = crate::notify::before(integration, &again, &Fake).unwrap().unwrap();
    let body: Value = serde_json::from_slice(&ends.body).unwrap();
    assert_eq!(body, value!({"routing_key": KEY, "event_action": "resolve", "dedup_key": dedup_key}));
    assert_eq!(crate::notify::before(integration, &firing("hot"), &Fake).unwrap(), None);
}

#[test]
fn changes_are_told_once_and_end_nothing() {
    let receiver = receiver(&format!(
        "  pagerduty_configs: [{{routing_key: {KEY}, url: 'https://events.eu.pagerduty.com/v2/enqueue', change_events: true,
        description: '{{{{ l alertname }}}} {{{{ a summary }}}}', source: ci, details: {{firing: '', resolved: '', num_firing: '', num_resolved: '', team: db}},
        links: [{{href: 'http://x', text: x}}, {{href: '', text: none}}]}}]"
    ));
    let (_, integration) = receiver.integrations().next().unwrap();
    let told = |notification: &Notification| message(integration, notification, &Fake, &Extra::default()).unwrap();
    let deploy = firing("deployed");
    let Some(Outgoing::Http(request)) = told(&deploy) else { panic!("a change") };
    assert_eq!(request.url, "https://events.eu.pagerduty.com/v2/change/enqueue");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let expected = value!({
        "routing_key": KEY,
        "payload": {
            "summary": "Hot deployed", "source": "ci", "timestamp": "2026-11-05T04:02:09.120Z",
            "custom_details": {"firing": "", "resolved": "", "num_firing": "", "num_resolved": "", "team": "db"},
        },
        "links": [{"href": "http://x", "text": "x"}],
    });
    assert_eq!(body, expected);
    let known = |told: &Notification| Notification { untold: [].into_iter().collect(), ..told.clone() };
    assert_eq!(told(&Notification { reason: Reason::Repeat, ..known(&deploy) }), None, "it has not changed again");
    assert_eq!(told(&Notification { reason: Reason::AllResolved, ..known(&ended()) }), None, "a change does not end");
    let late = Notification { reason: Reason::AllResolved, ..ended() };
    assert!(told(&late).is_some(), "it was never told");
    assert!(!integration.send_resolved());
}

#[test]
fn answers_are_told_apart() {
    let invalid = r#"{"status":"invalid event","message":"Event object is invalid","errors":["a","b"]}"#;
    let refused = |why: &str| Verdict::Refused(why.to_owned());
    let limited = |ms, why: &str| Verdict::Limited(ms, why.to_owned());
    for (config, status, retry, body, expected) in [
        ("routing_key: k", 202, None, r#"{"status":"success","dedup_key":"d"}"#, Verdict::Sent),
        ("routing_key: k", 400, None, invalid, refused("status 400: Event object is invalid: a, b")),
        ("routing_key: k", 403, None, "no", refused("status 403: no")),
        ("routing_key: k", 429, None, "", limited(60_000, "status 429")),
        ("routing_key: k", 429, Some(5_000), "", limited(5_000, "status 429")),
        ("routing_key: k", 500, None, "", Verdict::Failed("status 500".to_owned())),
        ("service_key: k", 403, None, "", limited(60_000, "status 403")),
    ] {
        let config = of(&format!("{{{config}}}"));
        assert_eq!(delivered(&config, &answer(status, retry, body)).verdict, expected, "{status}");
    }
    let kept = delivered(&of("{routing_key: k}"), &answer(202, None, r#"{"dedup_key":"d"}"#));
    assert_eq!(kept.answer, r#"{"dedup_key":"d"}"#);
}
