//! What SNS is told, and how it is signed.

use std::collections::BTreeMap;

use super::*;
use crate::notify::tests::{Fake, answer, ended, firing, receiver};

const KEYS: &str = "sigv4: {access_key: AKID, secret_key: secretkey}";

fn sent(config: &str, told: &Notification) -> (Request, BTreeMap<String, String>) {
    let receiver = receiver(&format!("  sns_configs: [{config}]"));
    let request = request(&receiver.sns[0].value, told, &Fake, &Extra::default()).unwrap();
    let form = form_urlencoded::parse(&request.body).into_owned().collect();
    (request, form)
}

#[test]
fn a_message_is_published() {
    let config = format!(
        "{{topic_arn: 'arn:aws:sns:eu-west-1:1:{{{{ l alertname }}}}', subject: ' é {{{{ a summary }}}}', message: 'm {{{{ status }}}}',
        attributes: {{team: '{{{{ l alertname }}}}', none: '{{{{ l none }}}}'}}, {KEYS}}}"
    );
    let (request, form) = sent(&config, &firing("a\nb"));
    assert_eq!(request.url, "https://sns.eu-west-1.amazonaws.com/");
    let expected = [
        ("Action", "Publish"),
        ("Message", "m firing"),
        ("MessageAttributes.entry.1.Name", "team"),
        ("MessageAttributes.entry.1.Value.DataType", "String"),
        ("MessageAttributes.entry.1.Value.StringValue", "Hot"),
        ("Subject", "? a b"),
        ("TopicArn", "arn:aws:sns:eu-west-1:1:Hot"),
        ("Version", "2010-03-31"),
    ];
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(form, expected);
    let authorization = &request.headers.iter().find(|(name, _)| name == "authorization").unwrap().1;
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKID/20261105/eu-west-1/sns/aws4_request, "));
    assert!(!format!("{:?}", request.headers).contains("secretkey"));
}

#[test]
fn texts_are_cut_and_say_so() {
    let long = "é".repeat(200_000);
    let (_, form) = sent(
        &format!(
            "{{target_arn: 'arn:aws:sns:r:1:e', subject: '{{{{ a summary }}}}', message: '{{{{ a summary }}}}', {KEYS}}}"
        ),
        &firing(&long),
    );
    assert!(form["Message"].len() <= MESSAGE_BYTES_MAX && form["Message"].len() > MESSAGE_BYTES_MAX - 4);
    assert_eq!(form["MessageAttributes.entry.1.Name"], "truncated");
    assert!(form["Subject"].is_ascii() && form["Subject"].len() < 100);
    let config =
        "{phone_number: '+1', message: '{{ a summary }}', sigv4: {region: us-east-1, access_key: a, secret_key: b}}";
    let (_, form) = sent(config, &firing(&long));
    assert!(form["Message"].len() <= SMS_BYTES_MAX && form["PhoneNumber"] == "+1");
}

#[test]
fn a_queue_drops_what_is_the_same_only() {
    let config = format!("{{topic_arn: 'arn:aws:sns:r:1:t.fifo', message: '{{{{ status }}}}', {KEYS}}}");
    let ids = |told: &Notification| {
        let (_, form) = sent(&config, told);
        (form["MessageGroupId"].clone(), form["MessageDeduplicationId"].clone())
    };
    assert_eq!(ids(&firing("x")), ids(&firing("y")));
    assert_eq!(ids(&firing("x")).0, ids(&ended()).0);
    assert_ne!(ids(&firing("x")).1, ids(&ended()).1);
}

#[test]
fn what_is_missing_is_said() {
    let of = |config: &str| {
        let receiver = receiver(&format!("  sns_configs: [{config}]"));
        request(&receiver.sns[0].value, &firing("x"), &Fake, &Extra::default()).unwrap_err()
    };
    assert_eq!(of("{topic_arn: 'arn:aws:sns:r:1:t'}").kind, ErrorKind::Unavailable);
    assert!(of(&format!("{{phone_number: '1', {KEYS}}}")).message().contains("region"));
    assert!(of(&format!("{{topic_arn: '{{{{ l none }}}}', {KEYS}}}")).message().contains("empty"));
}

#[test]
fn answers_are_told_apart() {
    let error =
        |code: &str| format!("<ErrorResponse><Error><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>");
    for (status, body, expected) in [
        (200, String::new(), Verdict::Sent),
        (400, error("InvalidParameter"), Verdict::Refused("status 400: InvalidParameter: m".to_owned())),
        (400, error("Throttling"), Verdict::Limited(LIMITED_MS, "status 400: Throttling: m".to_owned())),
        (403, error("AuthorizationError"), Verdict::Refused("status 403: AuthorizationError: m".to_owned())),
        (403, error("ExpiredToken"), Verdict::Failed("status 403: ExpiredToken: m".to_owned())),
        (500, error("InternalError"), Verdict::Failed("status 500: InternalError: m".to_owned())),
    ] {
        assert_eq!(delivered(&answer(status, None, &body)).verdict, expected);
    }
}
