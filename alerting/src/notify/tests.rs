//! What all kinds have in common, and what their tests share.

use std::{path::Path, sync::Arc};

use proptest::prelude::*;

use super::*;
use crate::{
    Config, Labels,
    alerts::Alert,
    config::receiver::{Receiver, ReceiverKind},
    dedup::Reason,
    outbox::{Attempt, Key, Owed, Rate},
};

/// 2026-11-05T04:03:09.120Z.
pub(super) const NOW_MS: i64 = 1_793_851_389_120;

/// Knows `{{ status }}`, `{{ reason }}`, `{{ firing }}`, `{{ l NAME }}` of common labels, `{{ a NAME }}` of common annotations, and gives
/// the name of a template for `{{ template "NAME" . }}`.
pub(super) struct Fake;

impl Render for Fake {
    fn text(&self, template: &str, data: &Notification) -> Result<String> {
        let mut rendered = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("{{") {
            let (what, after) = after.split_once("}}").ok_or_else(|| Error::invalid("an action has no end"))?;
            rendered.push_str(before);
            let words: Vec<&str> = what.split_whitespace().collect();
            let said = match *words {
                ["status"] => data.status().to_owned(),
                ["reason"] => data.reason.text().to_owned(),
                ["firing"] => data.firing().count().to_string(),
                ["l", name] => data.common_labels().get(name).to_owned(),
                ["a", name] => data.common_annotations().get(name).to_owned(),
                ["template", name, ..] => name.trim_matches('"').to_owned(),
                _ => String::new(),
            };
            rendered.push_str(&said);
            rest = after;
        }
        Ok(rendered + rest)
    }

    fn html(&self, template: &str, data: &Notification) -> Result<String> {
        Ok(format!("<p>{}</p>", self.text(template, data)?.replace('<', "&lt;")))
    }
}

/// A settled receiver.
pub(super) fn receiver(integrations: &str) -> Receiver {
    let global = "global: {smtp_from: a@b.c, smtp_smarthost: 'mail.b.c:587'}";
    let text = format!("{global}\nroute: {{receiver: a}}\nreceivers:\n- name: a\n{integrations}");
    let config = Config::parse(&text, Path::new("/etc")).unwrap();
    config.receiver("a").unwrap().clone()
}

pub(super) fn alert(labels: &[(&str, &str)], annotation: &str, is_firing: bool) -> Arc<Alert> {
    Arc::new(Alert {
        labels: labels.iter().copied().collect(),
        annotations: [("summary", annotation)].into_iter().collect(),
        starts_ms: NOW_MS - 60_000,
        ends_ms: if is_firing { NOW_MS + 300_000 } else { NOW_MS - 1_120 },
        generator_url: "http://p/g?x=1&y=2".into(),
        updated_ms: NOW_MS,
        is_timeout: is_firing,
        once: false,
    })
}

pub(super) fn owed(alerts: &[Arc<Alert>]) -> Owed {
    Owed {
        id: 7,
        key: Key {
            group: r#"{}:{alertname="Hot"}"#.into(),
            receiver: "a".into(),
            kind: ReceiverKind::Webhook,
            integration: 0,
        },
        destination: "d".into(),
        group_labels: [("alertname", "Hot")].into_iter().collect(),
        route_labels: Labels::default(),
        merged: Vec::new(),
        reason: Reason::First,
        by: None,
        alerts: alerts.iter().map(|alert| (alert.labels.fingerprint(), Arc::clone(alert))).collect(),
        untold: alerts.iter().map(|alert| alert.labels.fingerprint()).collect(),
        held: std::iter::empty().collect(),
        past: std::iter::empty().collect(),
        since_ms: NOW_MS,
        is_digest: false,
        failures: 0,
        fell_back: false,
        fallback_of: None,
    }
}

pub(super) fn notification(alerts: &[Arc<Alert>]) -> Notification {
    Notification::of(&Attempt::One(owed(alerts)), &[None], &"http://am".into(), NOW_MS).unwrap()
}

/// One that fires with a text.
pub(super) fn firing(annotation: &str) -> Notification {
    notification(&[alert(&[("alertname", "Hot"), ("instance", "a:1")], annotation, true)])
}

pub(super) fn ended() -> Notification {
    notification(&[alert(&[("alertname", "Hot")], "x", false)])
}

/// Of `groups` groups, half of which fire.
pub(super) fn storm(groups: usize, name: &str) -> Notification {
    let all = (0..groups).map(|nth| {
        let group = format!("{name}{nth}");
        let alerts = [alert(&[("alertname", &group)], "x", nth % 2 == 0)];
        Owed { group_labels: [("alertname", &*group)].into_iter().collect(), ..owed(&alerts) }
    });
    Notification::of(&Attempt::Summary(all.collect()), &[], &"http://am".into(), NOW_MS).unwrap()
}

pub(super) fn answer(status: u16, retry_after_ms: Option<i64>, body: &str) -> Answer {
    Answer { status, retry_after_ms, body: body.into() }
}

/// One of each kind that is built.
fn all_kinds() -> Receiver {
    receiver(
        "  slack_configs: [{api_url: 'https://hooks.slack.com/services/T/B/secretsecretsecret', text: '{{ a summary }}'}]
  pagerduty_configs: [{routing_key: 0123456789abcdef0123456789abcdef, description: '{{ a summary }}'}]
  webhook_configs: [{url: 'http://h/secretsecretsecret'}]
  msteamsv2_configs: [{webhook_url: 'https://t/secretsecretsecret', text: '{{ a summary }}'}]
  discord_configs: [{webhook_url: 'https://d/secretsecretsecret', content: '{{ a summary }}', message: '{{ a summary }}'}]
  sns_configs: [{topic_arn: 'arn:aws:sns:eu-west-1:1:t', message: '{{ a summary }}', sigv4: {access_key: a, secret_key: secretsecretsecret}}]
  email_configs: [{to: 'x@y.z', text: '{{ a summary }}', headers: {subject: '{{ a summary }}'}}]",
    )
}

fn bytes(outgoing: &Outgoing) -> Vec<u8> {
    match outgoing {
        Outgoing::Http(request) => request.body.clone(),
        Outgoing::Mail(mail) => mail.message(),
    }
}

#[test]
fn a_notification_is_what_an_attempt_is_about() {
    let alerts = [
        alert(&[("alertname", "Hot"), ("instance", "b")], "x", true),
        alert(&[("alertname", "Hot"), ("instance", "a")], "x", false),
        alert(&[("alertname", "Hot"), ("job", "j")], "x", false),
    ];
    let told = notification(&alerts);
    let order: Vec<&str> = told.alerts.iter().map(|alert| alert.labels.get("instance")).collect();
    assert_eq!(order, ["", "a", "b"], "by job, then by instance");
    assert_eq!((told.status(), told.firing().count(), told.resolved().count()), ("firing", 1, 2));
    assert_eq!(told.common_labels(), [("alertname", "Hot")].into_iter().collect());
    assert_eq!(ended().status(), "resolved");
    let held = Owed { held: [5].into_iter().collect(), ..owed(&alerts[1..]) };
    let told = Notification::of(&Attempt::One(held), &[], &"".into(), NOW_MS).unwrap();
    assert_eq!(told.status(), "firing", "what is held fires");
    assert_eq!(Notification { receiver: "a.b (c)".into(), ..told }.receiver_pattern(), r"a\.b \(c\)");
}

#[test]
fn a_summary_names_each_group() {
    let told = storm(3, "g");
    assert_eq!(told.summary_title(), "3 groups of alerts changed, 2 of them fire");
    let lines = "[FIRING:1] alertname=g0\n[RESOLVED:1] alertname=g1\n[FIRING:1] alertname=g2";
    assert_eq!(told.summary_lines(1_000), lines);
    assert_eq!(told.summary_lines(95), "[FIRING:1] alertname=g0\n[RESOLVED:1] alertname=g1\n… and 1 more");
    let hostile = storm(1, "a\r\nb<!channel>").with_texts(text::for_slack);
    assert_eq!(hostile.summary_lines(1_000), "[FIRING:1] alertname=a  b&lt;!channel&gt;0");
}

#[test]
fn whoever_is_not_told_of_ends_is_not_told_of_them() {
    let receiver = receiver("  slack_configs: [{api_url: 'https://h/x', fallback: '{{ firing }}'}]");
    let integration = Integration::Slack(&receiver.slack[0].value);
    let told = |told: &Notification| message(integration, told, &Fake, &Extra::default()).unwrap();
    let late = Notification { reason: Reason::AllResolved, ..ended() };
    assert_eq!(told(&Notification { untold: std::iter::empty().collect(), ..late.clone() }), None);
    assert!(told(&late).is_some(), "it was owed while it fired");
    let both = notification(&[alert(&[("a", "1")], "x", false), alert(&[("a", "2")], "x", true)]);
    assert!(message(integration, &both, &Fake, &Extra::default()).unwrap().is_some());
    let Some(Outgoing::Http(request)) = told(&storm(4, "g")) else { panic!("nothing is told") };
    assert!(
        String::from_utf8(request.body).unwrap().contains("alertname=g1"),
        "it ended while it waited, and is named"
    );
    let mut known = storm(4, "g");
    known.summary.iter_mut().for_each(|named| named.late = 0);
    let Some(Outgoing::Http(request)) = told(&known) else { panic!("nothing is told") };
    let body = String::from_utf8(request.body).unwrap();
    assert!(body.contains("alertname=g0") && !body.contains("alertname=g1"), "{body}");
}

#[test]
fn a_message_is_forgotten_when_its_group_ends() {
    let receiver =
        receiver("  slack_configs: [{app_token: xoxb-1, channel: c, update_message: true, send_resolved: true}]");
    let integration = Integration::Slack(&receiver.slack[0].value);
    let said = answer(200, None, r#"{"ok":true,"ts":"1","channel":"C"}"#);
    let url = |told: &Notification| match message(integration, told, &Fake, &Extra::default()).unwrap() {
        Some(Outgoing::Http(request)) => request.url,
        other => panic!("{other:?}"),
    };
    let kept = delivered(integration, &firing("x"), &said).answer;
    // A first message that waited goes out under the reason of what came after it.
    let next = |kept: &str| Notification { answer: Some(kept.to_owned()), reason: Reason::NewAlerts, ..firing("x") };
    assert!(url(&next(&kept)).ends_with("chat.update"));
    let end = Notification { answer: Some(kept), reason: Reason::AllResolved, ..ended() };
    assert!(url(&end).ends_with("chat.update"));
    let kept = delivered(integration, &end, &said).answer;
    assert!(url(&next(&kept)).ends_with("chat.postMessage") && !kept.is_empty());
    assert!(url(&next(&delivered_nothing(&ended()).answer)).ends_with("chat.postMessage"));
    assert_eq!(delivered(integration, &storm(2, "g"), &said).answer, "", "a summary is nobody's message");
}

#[test]
fn what_is_escaped_keeps_its_fingerprint() {
    let told = notification(&[alert(&[("a", "<x>")], "x", true)]);
    let escaped = told.with_texts(text::for_slack);
    assert_eq!(escaped.alerts[0].fingerprint, told.alerts[0].labels.fingerprint());
    assert_eq!(escaped.alerts[0].labels.get("a"), "&lt;x&gt;");
}

#[test]
fn a_template_that_is_wrong_does_not_quote_a_secret() {
    let receiver = receiver("  webhook_configs: [{url: 'http://h/{{ secretsecret'}]");
    struct Quotes;
    impl Render for Quotes {
        fn text(&self, template: &str, _: &Notification) -> Result<String> {
            Err(Error::invalid(format!("wrong: {template}")))
        }
        fn html(&self, template: &str, data: &Notification) -> Result<String> {
            self.text(template, data)
        }
    }
    let integration = Integration::Webhook(&receiver.webhook[0].value);
    let error = message(integration, &firing("x"), &Quotes, &Extra::default()).unwrap_err();
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[test]
fn what_cannot_be_made_is_refused_or_waits() {
    let receiver = receiver("  webhook_configs: [{url: 'http://h/{{ l nothing'}]");
    let integration = Integration::Webhook(&receiver.webhook[0].value);
    let error = message(integration, &firing("x"), &Fake, &Extra::default()).unwrap_err();
    assert!(matches!(not_sent(&error).verdict, Verdict::Refused(_)));
    let missing = Error::new(ErrorKind::Unavailable, "x");
    assert!(matches!(not_sent(&missing).verdict, Verdict::Failed(_)));
    let unbuilt = self::receiver("  msteams_configs: [{webhook_url: 'http://h/'}]");
    let integration = Integration::MsTeams(&unbuilt.msteams[0].value);
    let error = message(integration, &firing("x"), &Fake, &Extra::default()).unwrap_err();
    assert!(error.message().contains("`msteams` is not built"), "{error}");
}

#[test]
fn no_secret_is_in_a_verdict_or_a_destination() {
    let receiver = all_kinds();
    for (_, integration) in receiver.integrations() {
        let said =
            "Cannot POST /services/T/B/secretsecretsecret, key 0123456789abcdef0123456789abcdef\r\nsecretsecretsecret";
        let Verdict::Refused(why) = delivered(integration, &firing("x"), &answer(404, None, said)).verdict else {
            assert_eq!(integration.kind(), ReceiverKind::Email);
            continue;
        };
        let is_pager = integration.kind() == ReceiverKind::PagerDuty;
        let secret = if is_pager { "0123456789" } else { "secretse" };
        // Wherever an answer is cut, no part of a secret is left.
        for bytes in 400..500 {
            let far = "x".repeat(bytes) + said;
            let verdict = delivered(integration, &firing("x"), &answer(404, None, &far)).verdict;
            assert!(!format!("{verdict:?}").contains(secret), "{verdict:?}");
        }
        assert!(!why.contains(secret) && !why.contains('\n'), "{why}");
        let destination = destination(integration);
        assert!(!destination.contains(secret) && destination.len() < 40, "{destination}");
        assert!(!format!("{:?}", message(integration, &firing("x"), &Fake, &Extra::default())).contains(secret));
    }
}

#[test]
fn destinations_are_those_who_read() {
    let receiver = receiver(
        "  slack_configs:
  - {app_token: xoxb-1, channel: a}
  - {app_token: xoxb-1, channel: a, title: other}
  - {app_token: xoxb-1, channel: b}
  - {app_token: xoxb-2, channel: a}
  - {api_url_file: hook, channel: '{{ l team }}'}",
    );
    let of = |nth: usize| destination(Integration::Slack(&receiver.slack[nth].value));
    assert_eq!(of(0), of(1));
    assert!(of(0) != of(2) && of(0) != of(3) && of(4).starts_with("slack:"));
    let takes = |nth: usize| rate(Integration::Slack(&receiver.slack[nth].value), None).takes_summaries;
    assert!(takes(0) && !takes(4), "who reads a summary must not depend on alerts");
}

#[test]
fn a_rate_is_kept_in_every_span() {
    let receiver = all_kinds();
    let integration = Integration::Slack(&receiver.slack[0].value);
    let of = |text: &str| rate(integration, Some(&serde_json::from_str(&format!("{text:?}")).unwrap()));
    let expected = |every_ms, burst| Rate { every_ms, burst, takes_summaries: true };
    assert_eq!(of("30 per 1m"), expected(2_500, 7));
    assert_eq!(of("1 per 1m"), expected(60_000, 1));
    assert_eq!(of("3 per 1s"), expected(334, 1));
    assert_eq!(rate(integration, None), expected(1_000, 1));
    let pager = rate(Integration::PagerDuty(&receiver.pagerduty[0].value), None);
    assert_eq!(pager, Rate { every_ms: 600, burst: 20, takes_summaries: false });
}

#[test]
fn http_config_becomes_headers() {
    let receiver = receiver(
        "  webhook_configs:
  - {url: 'http://h/', http_config: {basic_auth: {username: u, password: p}, http_headers: {X-A: {values: [v], secrets: [s]}}}}
  - {url: 'http://h/', http_config: {authorization: {type: Token, credentials: t}}}
  - {url: 'http://h/', http_config: {authorization: {credentials_file: /nowhere/at/all}}}
  - {url: 'http://h/', http_config: {http_headers: {X-A: {values: [\"a\\r\\nb\"]}}}}",
    );
    let headers = |nth: usize| {
        let sent = webhook::request(&receiver.webhook[nth].value, &firing("x"), &Fake)?;
        Ok::<_, Error>(sent.headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>())
    };
    let json = "Content-Type: application/json";
    assert_eq!(headers(0).unwrap(), [json, "Authorization: Basic dTpw", "X-A: v", "X-A: s"]);
    assert_eq!(headers(1).unwrap(), [json, "Authorization: Token t"]);
    assert_eq!(headers(2).unwrap_err().kind, ErrorKind::Unavailable);
    assert!(headers(3).unwrap_err().message().contains("line break"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_message_is_valid_and_within_limits(text in any::<String>(), times in 1_usize..4_000, groups in 1_usize..120) {
        let (receiver, told) = (all_kinds(), firing(&text.repeat(times)));
        let summary = storm(groups, &text);
        for (_, integration) in receiver.integrations() {
            let sent = message(integration, &told, &Fake, &Extra::default()).unwrap().unwrap();
            let max = match integration.kind() {
                ReceiverKind::PagerDuty => 512_000,
                ReceiverKind::MsTeamsFlow => 28 << 10,
                // Form encoding makes three bytes of one.
                ReceiverKind::Sns => (256 << 10) * 3 + 2_000,
                _ => usize::MAX,
            };
            let sent = bytes(&sent);
            prop_assert!(sent.len() <= max && std::str::from_utf8(&sent).is_ok());
            let body: serde_json::Value = serde_json::from_slice(&sent).unwrap_or_default();
            for (at, chars_max) in [
                ("/attachments/0/text", 9_500),
                ("/content", 2_000),
                ("/embeds/0/title", 256),
                ("/embeds/0/description", 4_096),
                ("/payload/summary", 1_024),
            ] {
                let text = body.pointer(at).and_then(serde_json::Value::as_str).unwrap_or_default();
                prop_assert!(text.chars().count() <= chars_max, "{at}");
            }
            if matches!(integration.kind(), ReceiverKind::Slack | ReceiverKind::Discord | ReceiverKind::MsTeamsFlow) {
                let summed = bytes(&message(integration, &summary, &Fake, &Extra::default()).unwrap().unwrap());
                prop_assert!(summed.len() <= max);
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&summed).is_ok());
            }
            if integration.kind() == ReceiverKind::Email {
                let is_mail = |line: &str| line.len() <= 998 && line.is_ascii();
                prop_assert!(std::str::from_utf8(&sent).unwrap().split("\r\n").all(is_mail));
            }
        }
    }
}

#[test]
fn answers_to_questions_are_told_by_those_who_take_them() {
    let told = Notification { report: Some(Arc::new(Report::default())), ..firing("x") };
    let all = all_kinds();
    for (_, integration) in all.integrations() {
        let message = message(integration, &told, &Fake, &Extra::default());
        assert_eq!(message.is_ok(), integration.kind().takes_answers(), "{}", integration.kind());
    }
}
