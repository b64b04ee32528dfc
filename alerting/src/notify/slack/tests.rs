//! What Slack is told, and what its answers mean.

use serde_json::{Value, json};

use super::*;
use crate::notify::tests::{Fake, alert, answer, firing, notification, receiver, storm};

pub(super) fn of(config: &str) -> Slack {
    receiver(&format!("  slack_configs: [{config}]")).slack[0].value.clone()
}

fn sent(config: &str, told: &Notification) -> (String, Value) {
    let request = request(&of(config), told, &Fake).unwrap();
    (request.url, serde_json::from_slice(&request.body).unwrap())
}

#[test]
fn an_attachment_is_that_of_alertmanager() {
    let config = "{api_url: 'https://h/x', channel: '#c', title: '{{ l alertname }}', text: '{{ a summary }}',
        color: '{{ status }}', message_text: m, link_names: true, short_fields: true,
        fields: [{title: t, value: '{{ l instance }}'}, {title: t, value: v, short: false}],
        actions: [{type: button, text: b, url: 'http://r/?a=1&b=2'}, {type: button, text: b, name: n, value: v, confirm: {text: sure}}]}";
    let (url, body) = sent(config, &firing("hot"));
    assert_eq!(url, "https://h/x");
    let expected = r##"{"channel":"#c","username":"slack.default.username","icon_emoji":"slack.default.iconemoji","icon_url":"slack.default.iconurl","link_names":true,"text":"m","attachments":[{"title":"Hot","title_link":"slack.default.titlelink","pretext":"slack.default.pretext","text":"hot","fallback":"slack.default.fallback","callback_id":"slack.default.callbackid","fields":[{"title":"t","value":"a:1","short":true},{"title":"t","value":"v","short":false}],"actions":[{"type":"button","text":"b","url":"http://r/?a=1&b=2"},{"type":"button","text":"b","name":"n","value":"v","confirm":{"text":"sure"}}],"footer":"slack.default.footer","color":"firing","mrkdwn_in":["fallback","pretext","text"]}]}"##;
    assert_eq!(body.to_string(), expected);
}

#[test]
fn hostile_labels_call_nobody_and_templates_do() {
    let told = notification(&[alert(
        &[("alertname", "<!channel>"), ("<!here>", "x"), ("team", "a&b")],
        "<https://evil|click> @everyone",
        true,
    )]);
    let config = "{api_url: 'https://h/x', channel: 'c-{{ l team }}', title: '{{ l alertname }}', title_link: 'http://r/?q={{ l team }}',
        pretext: '<!subteam^S1> {{ l alertname }}', text: '<http://run|book> {{ a summary }}', fallback: '{{ l alertname }}',
        message_text: '{{ l alertname }}', footer: '{{ l alertname }}', fields: [{title: '{{ l alertname }}', value: '{{ l alertname }}'}]}";
    let (_, body) = sent(config, &told);
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["pretext"], "<!subteam^S1> &lt;!channel&gt;");
    assert_eq!(attachment["text"], "<http://run|book> &lt;https://evil|click&gt; @\u{200b}everyone");
    assert!(!body.to_string().contains("<!channel") && !body.to_string().contains("<https://evil"), "{body}");
    // Where Slack reads no markup, texts are as they are.
    assert_eq!((&attachment["title_link"], &body["channel"]), (&json!("http://r/?q=a&b"), &json!("c-a&b")));
    let (_, body) = sent(config, &storm(2, "<!channel>"));
    assert!(body.to_string().contains("&lt;!channel&gt;") && !body.to_string().contains("<!channel"), "{body}");
}

#[test]
fn texts_are_cut() {
    let config = "{api_url: 'https://h/x', title: '{{ a summary }}', text: '{{ a summary }}', message_text: '{{ a summary }}',
        fields: [{title: '{{ a summary }}', value: '{{ a summary }}'}], actions: [{type: button, text: '{{ a summary }}', url: 'http://r/{{ a summary }}'}]}";
    let (_, body) = sent(config, &firing(&"é".repeat(50_000)));
    let attachment = &body["attachments"][0];
    for (text, max) in [
        (&body["text"], 40_000),
        (&attachment["title"], 1_024),
        (&attachment["text"], 9_500 - 1_024),
        (&attachment["actions"][0]["text"], 75),
    ] {
        let text = text.as_str().unwrap();
        assert!(text.chars().count() == max && text.ends_with('…'), "{max}");
    }
    assert_eq!(attachment["actions"][0].get("url"), None);
    assert_eq!(attachment.get("fields"), None, "there is no room for them");
    let config = "{api_url: 'https://h/x', title: t, text: x, fields: [{title: t, value: '{{ a summary }}'}, {title: t, value: '{{ a summary }}'}]}";
    let (_, body) = sent(config, &firing(&"é".repeat(50_000)));
    for field in body["attachments"][0]["fields"].as_array().unwrap() {
        assert_eq!(field["value"].as_str().unwrap().chars().count(), 2_000);
    }
}

#[test]
fn a_group_s_message_is_changed_or_replied_to() {
    let told =
        |reason| Notification { answer: Some(r#"{"ts":"1.2","channel":"C1"}"#.to_owned()), reason, ..firing("x") };
    let update = "{app_token: xoxb-1, channel: c, update_message: true}";
    let (url, body) = sent(update, &told(Reason::NewAlerts));
    assert_eq!(
        (url.as_str(), &body["ts"], &body["channel"]),
        ("https://slack.com/api/chat.update", &json!("1.2"), &json!("C1"))
    );
    let (url, body) = sent(update, &told(Reason::First));
    assert_eq!(
        (url.as_str(), body.get("ts"), &body["channel"]),
        ("https://slack.com/api/chat.postMessage", None, &json!("c"))
    );
    let (url, body) = sent("{app_token: xoxb-1, channel: c, thread_replies: true}", &told(Reason::AllResolved));
    assert!(url.ends_with("chat.postMessage") && body["thread_ts"] == "1.2" && body["channel"] == "C1");
    let (_, body) = sent("{app_token: xoxb-1, channel: c}", &told(Reason::Repeat));
    assert!(body.get("ts").is_none() && body.get("thread_ts").is_none());
    let request = request(&of(update), &told(Reason::First), &Fake).unwrap();
    assert!(request.headers.contains(&("Authorization".to_owned(), "Bearer xoxb-1".to_owned())));
}

#[test]
fn replies_need_a_bot_and_are_no_changes() {
    let refused = |config: &str| {
        let text = format!(
            "route: {{receiver: a}}\nreceivers: [{{name: a, slack_configs: [{{{config}, thread_replies: true}}]}}]"
        );
        crate::Config::parse(&text, std::path::Path::new("/")).map(drop)
    };
    assert!(refused("app_token: t").is_ok());
    assert!(refused("api_url: 'https://h/x'").unwrap_err().message().contains("needs a bot's token"));
    assert!(refused("app_token: t, update_message: true").unwrap_err().message().contains("at most one"));
}

#[test]
fn a_storm_is_one_message() {
    let (_, body) = sent("{api_url: 'https://h/x', channel: c}", &storm(100, "group"));
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["title"], "100 groups of alerts changed, 50 of them fire");
    assert!(attachment["text"].as_str().unwrap().starts_with("[FIRING:1] alertname=group0\n"));
    assert_eq!((&attachment["color"], &attachment["title_link"]), (&json!("danger"), &json!("http://am")));
}

#[test]
fn answers_are_told_apart() {
    let refused = |why: &str| Verdict::Refused(why.to_owned());
    let failed = |why: &str| Verdict::Failed(why.to_owned());
    for (status, retry, body, expected) in [
        (200, None, "ok", Verdict::Sent),
        (200, None, r#"{"ok":true,"ts":"1","channel":"C"}"#, Verdict::Sent),
        (200, None, "no_text", refused("Slack answered: no_text")),
        (200, None, r#"{"ok":false,"error":"channel_not_found"}"#, refused("Slack answered: channel_not_found")),
        (200, None, r#"{"ok":false,"error":"invalid_auth"}"#, refused("Slack answered: invalid_auth")),
        (200, None, r#"{"ok":false,"error":"internal_error"}"#, failed("Slack answered: internal_error")),
        (200, None, r#"{"ok":false,"error":"fatal_error"}"#, failed("Slack answered: fatal_error")),
        (
            200,
            Some(3_000),
            r#"{"ok":false,"error":"ratelimited"}"#,
            Verdict::Limited(3_000, "Slack answered: ratelimited".to_owned()),
        ),
        (429, Some(7_000), "", Verdict::Limited(7_000, "status 429".to_owned())),
        (
            429,
            None,
            r#"{"retry_after":1,"ok":false}"#,
            Verdict::Limited(1_000, r#"status 429: {"retry_after":1,"ok":false}"#.to_owned()),
        ),
        (429, None, "", Verdict::Limited(30_000, "status 429".to_owned())),
        (400, None, "invalid_payload", refused("status 400: invalid_payload")),
        (403, None, "action_prohibited", refused("status 403: action_prohibited")),
        (404, None, "channel_not_found", refused("status 404: channel_not_found")),
        (410, None, "channel_is_archived", refused("status 410: channel_is_archived")),
        (500, None, "rollup_error", failed("status 500: rollup_error")),
        (503, None, "", failed("status 503")),
    ] {
        assert_eq!(delivered(&answer(status, retry, body)).verdict, expected, "{status} {body}");
    }
}

#[test]
fn the_place_of_a_message_is_kept() {
    let kept = |body: &str| delivered(&answer(200, None, body)).answer;
    assert_eq!(kept(r#"{"ok":true,"ts":"1","channel":"C"}"#), r#"{"ts":"1","channel":"C"}"#);
    let reply = r#"{"ok":true,"ts":"2","channel":"C","message":{"thread_ts":"1"}}"#;
    assert_eq!(kept(reply), r#"{"ts":"1","channel":"C"}"#, "that of the thread");
    assert_eq!((kept("ok").as_str(), kept(r#"{"ok":false,"ts":"1"}"#).as_str()), ("", ""));
    assert!(wants_new_message(&answer(200, None, r#"{"ok":false,"error":"message_not_found"}"#)));
    assert!(!wants_new_message(&answer(200, None, r#"{"ok":false,"error":"invalid_auth"}"#)));
}

#[test]
fn a_digest_says_what_fired_how_often_and_for_how_long() {
    let told = Notification { is_digest: true, ..storm(3, "group") };
    for config in ["{api_url: 'https://h/x'}", "{api_url: 'https://h/x', blocks: true}"] {
        let (_, body) = sent(config, &told);
        let text = body.to_string();
        assert!(text.contains("Daily digest: 3 groups of alerts fired 3 times, 2 of them fire still"), "{text}");
        assert!(text.contains("[FIRING:1] alertname=group0: once, 1m"), "{text}");
        assert!(text.contains("[RESOLVED] alertname=group1: once, less than 1m"), "{text}");
    }
}
