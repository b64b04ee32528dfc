//! What a webhook is told.

use super::*;
use crate::{
    notify::tests::{Fake, NOW_MS, alert, answer, firing, notification, receiver},
    outbox::Verdict,
};

fn sent(config: &str, told: &Notification) -> Request {
    let receiver = receiver(&format!("  webhook_configs: [{config}]"));
    request(&receiver.webhook[0].value, told, &Fake).unwrap()
}

fn body(config: &str, told: &Notification) -> String {
    String::from_utf8(sent(config, told).body).unwrap()
}

#[test]
fn a_body_is_that_of_alertmanager() {
    let told = notification(&[
        alert(&[("alertname", "Hot"), ("instance", "a:1"), ("zone", "x")], "it's <hot>", true),
        alert(&[("alertname", "Hot"), ("instance", "b:1")], "it's <hot>", false),
    ]);
    let expected = concat!(
        r#"{"receiver":"a","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"Hot","instance":"a:1","zone":"x"},"#,
        r#""annotations":{"summary":"it's <hot>"},"startsAt":"2026-11-05T04:02:09.12Z","endsAt":"0001-01-01T00:00:00Z","#,
        r#""generatorURL":"http://p/g?x=1&y=2","fingerprint":"FIRST"},{"status":"resolved","labels":{"alertname":"Hot","instance":"b:1"},"#,
        r#""annotations":{"summary":"it's <hot>"},"startsAt":"2026-11-05T04:02:09.12Z","endsAt":"2026-11-05T04:03:08Z","#,
        r#""generatorURL":"http://p/g?x=1&y=2","fingerprint":"SECOND"}],"notification_reason":"first notification","#,
        r#""groupLabels":{"alertname":"Hot"},"commonLabels":{"alertname":"Hot"},"commonAnnotations":{"summary":"it's <hot>"},"#,
        r#""routeLabels":{},"externalURL":"http://am","version":"4","groupKey":"{}:{alertname=\"Hot\"}","truncatedAlerts":0}"#,
    );
    let prints: Vec<String> = told.alerts.iter().map(|alert| format!("{:016x}", alert.labels.fingerprint())).collect();
    let expected = expected.replace("FIRST", &prints[0]).replace("SECOND", &prints[1]);
    assert_eq!(body("{url: 'http://h/'}", &told), expected);
    assert_eq!(NOW_MS, told.now_ms);
}

#[test]
fn alerts_are_cut_and_counted() {
    let alerts: Vec<_> = (0..5).map(|nth| alert(&[("n", &nth.to_string())], "x", true)).collect();
    let body: Value = serde_json::from_str(&body("{url: 'http://h/', max_alerts: 2}", &notification(&alerts))).unwrap();
    assert_eq!((body["alerts"].as_array().unwrap().len(), &body["truncatedAlerts"]), (2, &3.into()));
}

#[test]
fn a_payload_and_a_url_are_templates() {
    let config = "{url: 'http://h/{{ l alertname }}', timeout: 5s,
        payload: {'{{ l alertname }}': ['{{ a summary }}', '{{ firing }}', 3, true], text: '\"quoted\"', empty: '{{ l none }}'}}";
    let request = sent(config, &firing("say \"hi\""));
    assert_eq!(request.url, "http://h/Hot");
    assert_eq!(request.timeout.as_secs(), 5);
    let expected = r#"{"Hot":["say \"hi\"",1,3,true],"empty":"","text":"\"quoted\""}"#;
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(body, serde_json::from_str::<Value>(expected).unwrap());
}

#[test]
fn a_url_that_is_none_is_not_told() {
    let receiver = receiver("  webhook_configs: [{url: '{{ a summary }}'}]");
    let error = request(&receiver.webhook[0].value, &firing("ftp://secret"), &Fake).unwrap_err();
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[test]
fn answers_are_told_apart() {
    for (status, retry, expected) in [
        (200, None, Verdict::Sent),
        (204, None, Verdict::Sent),
        (302, None, Verdict::Refused("status 302: b".to_owned())),
        (404, None, Verdict::Refused("status 404: b".to_owned())),
        (429, Some(9_000), Verdict::Limited(9_000, "status 429: b".to_owned())),
        (500, None, Verdict::Failed("status 500: b".to_owned())),
        (599, None, Verdict::Failed("status 599: b".to_owned())),
    ] {
        assert_eq!(delivered(&answer(status, retry, "b")).verdict, expected);
    }
}

#[test]
fn a_digest_has_its_groups() {
    let told = Notification { is_digest: true, ..crate::notify::tests::storm(2, "g") };
    let receiver = crate::notify::tests::receiver("  webhook_configs: [{url: 'http://h/'}]");
    let sent = request(&receiver.webhook[0].value, &told, &crate::notify::tests::Fake).unwrap();
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    let expected = serde_json::json!([
        {"name": "alertname=g0", "times": 1, "seconds": 60, "firing": 1},
        {"name": "alertname=g1", "times": 1, "seconds": 58, "firing": 0},
    ]);
    assert_eq!((&body["digest"], body["alerts"].as_array().unwrap().len()), (&expected, 2));
}
