//! Answers for Slack: what stands in a message, and how a file gets under it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::{
    config::receiver::Integration,
    notify::{
        delivered,
        slack::tests::of as config_of,
        tests::{Fake, answer as said, ended},
    },
};

const BOT: &str = "{channel: '#money', username: u, icon_emoji: '', icon_url: '', api_url: 'https://slack.test/api/chat.postMessage', \
                   http_config: {authorization: {credentials: xoxb-secret}}}";

fn report(cells: &[&str]) -> Report {
    Report {
        title: "Costs *of* <teams>.".to_owned(),
        time: "2026-11-23T07:00:00Z".to_owned(),
        link: "http://gauge.test/api/v1/sql/costs?team=a%26b&format=csv".to_owned(),
        columns: vec!["team".to_owned()],
        rows: cells.iter().map(|cell| vec![(*cell).to_owned()]).collect(),
        count: Some(cells.len() as u64),
        file: Some(File { name: "costs-2026-11-23.csv".to_owned(), bytes: b"team\r\na\r\n".to_vec() }),
        ..Report::default()
    }
}

fn told(report: Report) -> Notification {
    Notification { report: Some(Arc::new(report)), ..ended() }
}

fn sent(told: &Notification) -> Value {
    let report = told.report.as_deref().unwrap();
    let request = answer(&config_of(BOT), (told, report), &Fake).unwrap();
    serde_json::from_slice(&request.body).unwrap()
}

#[test]
fn a_message_has_a_table_in_a_block_of_code_and_a_link() {
    let body = sent(&told(report(&["payments", "db"])));
    let text = "*Costs ∗of∗ &lt;teams&gt;, as of 2026-11-23T07:00:00Z*\n```\nteam\n--------\npayments\ndb\n```\nThere are 2 rows. \
                <http://gauge.test/api/v1/sql/costs?team=a%26b&amp;format=csv|Ask again>";
    assert_eq!(body, json!({"channel": "#money", "username": "u", "text": text, "attachments": []}));
    let fallback = Notification { fallback_of: Some("finance".into()), ..told(report(&[])) };
    let text = sent(&fallback)["text"].as_str().unwrap().to_owned();
    assert!(text.starts_with("*[finance could not be told] Costs") && text.contains("There are no rows."), "{text}");
}

#[test]
fn what_came_with_data_ends_no_block_and_calls_nobody() {
    let hostile = ["``` <!channel> @here", "<https://evil|x>", "a\u{2028}b"];
    let text = sent(&told(report(&hostile)))["text"].as_str().unwrap().to_owned();
    assert_eq!(text.matches("```").count(), 2, "{text}");
    assert!(!text.contains("<!") && !text.contains("<https://evil") && !text.contains("@here"), "{text}");
    assert!(text.contains("a b"), "{text}");
}

#[test]
fn a_message_is_within_what_slack_takes_in_one() {
    let wide = "<&>".repeat(100);
    let cells = [wide.as_str(); 20];
    let long = Report { link: format!("http://h/{}", "x".repeat(5_000)), title: "é".repeat(900), ..report(&cells) };
    let text = sent(&told(Report { count: Some(7_000), ..long }))["text"].as_str().unwrap().to_owned();
    assert!(text.chars().count() < 4_000, "{}", text.chars().count());
    assert!(text.contains(" of 7000 rows.") && !text.contains("Ask again"), "{text}");
    assert_eq!(text.matches("```").count(), 2);
    // Each as long as it may be.
    let full = Report { link: format!("http://h/{}", "&".repeat(190)), title: "<".repeat(200), ..report(&cells) };
    let full = Report { lacks_file: Some("é".repeat(900)), ..full };
    let text = sent(&told(full))["text"].as_str().unwrap().to_owned();
    assert!((3_000..4_000).contains(&text.chars().count()), "{}", text.chars().count());
    assert!(text.contains("Ask again") && text.contains("There is no file: é"), "{text}");
}

#[test]
fn that_there_is_no_answer_is_told_in_words() {
    let failure = "the query has no answer: `<!channel>` took too long".to_owned();
    let text = sent(&told(Report { failure: Some(failure), file: None, ..report(&[]) }))["text"].clone();
    let text = text.as_str().unwrap();
    assert!(
        text.contains("*\nThere is no answer: the query has no answer: `&lt;!channel&gt;` took too long <http"),
        "{text}"
    );
    assert!(!text.contains("```") && !text.contains("no rows"), "{text}");
}

#[test]
fn a_bot_brings_the_file_first_and_shows_it_under_the_message() {
    let (config, file) = (config_of(BOT), report(&[]).file.unwrap());
    let place = upload(&config, &file).unwrap().expect("a bot has files");
    assert_eq!(place.url, "https://slack.test/api/files.getUploadURLExternal");
    assert_eq!(place.body, b"filename=costs-2026-11-23.csv&length=9");
    let header = |request: &Request, name: &str| {
        request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    };
    assert_eq!(header(&place, "Authorization"), "Bearer xoxb-secret");
    let uploading = r#"{"ok":true,"upload_url":"https://files.slack.test/up/1","file_id":"F1"}"#;
    let uploading = began(&said(200, None, uploading)).unwrap();
    let bytes = uploading.bytes(&file);
    assert_eq!((bytes.url.as_str(), &bytes.body), ("https://files.slack.test/up/1", &file.bytes));
    assert_eq!(header(&bytes, "Authorization"), "", "the token is not for whoever takes the bytes");
    uploading.has_bytes(&said(200, None, "OK - 9")).unwrap();
    let told = told(report(&[]));
    let by = Integration::Slack(&config);
    let posted_now = delivered(by, &told, &said(200, None, r#"{"ok":true,"channel":"C1","ts":"1.2"}"#)).answer;
    let shared = share(&config, &uploading, &file, &posted_now).unwrap();
    assert_eq!(shared.url, "https://slack.test/api/files.completeUploadExternal");
    let body: Value = serde_json::from_slice(&shared.body).unwrap();
    let files = json!([{"id": "F1", "title": "costs-2026-11-23.csv"}]);
    assert_eq!(body, json!({"files": files, "channel_id": "C1", "thread_ts": "1.2"}));
    let again = Notification { answer: Some(posted_now.clone()), ..told };
    assert_eq!(posted(&again), Some(&*posted_now), "it is not posted again");
    let hook = config_of("{api_url: 'https://hooks.slack.test/services/T/B/x', username: u}");
    assert_eq!(upload(&hook, &file).unwrap().map(|request| request.url), None, "a webhook takes no file");
}

#[test]
fn what_slack_does_not_take_is_a_failure() {
    for (body, expected) in [
        (
            r#"{"ok":false,"error":"missing_scope"}"#,
            "Refused(\"no place for the file: Slack answered: missing_scope\")",
        ),
        (
            r#"{"ok":false,"error":"internal_error"}"#,
            "Failed(\"no place for the file: Slack answered: internal_error\")",
        ),
        (r#"{"ok":true}"#, "Failed(\"no place for the file: Slack named none\")"),
        (r#"{"ok":true,"upload_url":"ftp://x/","file_id":"F"}"#, "Failed(\"no place for the file: Slack named none\")"),
    ] {
        let Delivered { verdict, answer } = began(&said(200, None, body)).unwrap_err();
        assert_eq!((format!("{verdict:?}").as_str(), answer.as_str()), (expected, ""));
    }
    let uploading = Uploading { url: "https://files.slack.test/up/1".to_owned(), file_id: "F1".to_owned() };
    let limited = uploading.has_bytes(&said(429, Some(2_000), "")).unwrap_err().verdict;
    assert_eq!(limited, Verdict::Limited(2_000, "the file was not taken: status 429".to_owned()));
    let refused = uploading.has_bytes(&said(404, None, "/up/1")).unwrap_err().verdict;
    assert_eq!(refused, Verdict::Failed("the file was not taken: status 404".to_owned()));
    let not_shown = shared(&said(200, None, r#"{"ok":false,"error":"channel_not_found"}"#));
    assert_eq!(not_shown, Verdict::Refused("the file was not shown: Slack answered: channel_not_found".to_owned()));
    assert_eq!(shared(&said(200, None, r#"{"ok":true,"files":[{"id":"F1"}]}"#)), Verdict::Sent);
}
