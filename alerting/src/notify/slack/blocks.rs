//! Slack's Block Kit: a header, what the texts of the configuration say or else each alert, fields, who and how many, links.
//!
//! Called by `slack`, which escaped the texts. Invariants: Slack refuses a message for one block that is too long, empty or has a bad link, so
//! none is; what there is no room for is counted in the last line; a button is a link, as nobody here answers anything else.
//! Not here: colours, pictures and callbacks of attachments, which blocks do not have. Spec: <https://docs.slack.dev/reference/block-kit>.

use serde::Serialize;

use super::{TEXT_CHARS_MAX, Texts, URL_CHARS_MAX};
use crate::{
    ALERTNAME, Labels, Result,
    config::{slack::Slack, values::Url},
    notify::{
        Notification, Shown,
        text::{one_line, truncated, truncated_slack},
    },
};

const HEADER_CHARS_MAX: usize = 150;
const SECTION_CHARS_MAX: usize = 3_000;
/// Of one section.
const FIELDS_MAX: usize = 10;
const FIELD_CHARS_MAX: usize = 2_000;
/// Sections of fields. With the others there are 50 blocks at most.
const FIELD_SECTIONS_MAX: usize = 10;
/// Alerts that are shown one by one; nobody reads more, and the rest is counted.
const ALERTS_MAX: usize = 20;
/// Characters of an alert, so that one does not take the room of all.
const ALERT_CHARS_MAX: usize = 1_000;
/// Elements of one block of buttons.
const BUTTONS_MAX: usize = 25;
const BUTTON_CHARS_MAX: usize = 75;
/// Characters of the line below all; kept free for it.
const CONTEXT_CHARS_MAX: usize = 300;
/// Characters of the line that counts the rest; kept free for it.
const REST_CHARS_MAX: usize = 100;

/// A block.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Block {
    Header {
        text: Text,
    },
    Section {
        #[serde(skip_serializing_if = "Option::is_none")]
        text: Option<Text>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        fields: Vec<Text>,
    },
    Context {
        elements: Vec<Text>,
    },
    Actions {
        elements: Vec<Button>,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", content = "text", rename_all = "snake_case")]
pub(super) enum Text {
    PlainText(String),
    Mrkdwn(String),
}

#[derive(Serialize)]
pub(super) struct Button {
    #[serde(rename = "type")]
    kind: &'static str,
    text: Text,
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    style: Option<&'static str>,
}

/// What is left of the characters that a message may have.
struct Room(usize);

impl Room {
    /// A text, cut to what it may have and to what is left.
    fn take(&mut self, text: &str, chars_max: usize) -> String {
        let text = truncated_slack(text, chars_max.min(self.0));
        self.0 -= text.chars().count();
        text
    }
}

/// The blocks of a group. `escaped` is the notification with its texts escaped, `plain` as it is.
pub(super) fn group(
    config: &Slack,
    (escaped, plain): (&Notification, &Notification),
    texts: &Texts<'_>,
) -> Result<Vec<Block>> {
    let mut room = Room(TEXT_CHARS_MAX - CONTEXT_CHARS_MAX - REST_CHARS_MAX);
    let mut blocks = vec![header(&escaped.titled(&(texts.shown)(&config.title)?), &mut room)];
    let fields = fields(config, escaped, texts, &mut room)?;
    let (pretext, text) = ((texts.shown)(&config.pretext)?, (texts.shown)(&config.text)?);
    blocks.extend(sections(&pretext, &mut room));
    if text.trim().is_empty() {
        blocks.extend(fields);
        blocks.extend(alerts(escaped, &mut room));
    } else {
        blocks.extend(sections(&text, &mut room));
        blocks.extend(fields);
    }
    let footer = (texts.shown)(&config.footer)?;
    blocks.push(context(&counts(escaped, &footer)));
    blocks.extend(buttons(config, plain, texts)?);
    Ok(blocks)
}

/// The blocks of a summary.
pub(super) fn summary(escaped: &Notification) -> Vec<Block> {
    let mut room = Room(TEXT_CHARS_MAX);
    let mut blocks = vec![header(&escaped.summary_title(), &mut room)];
    let lines = escaped.summary_lines(room.0);
    blocks.extend(sections(&lines, &mut room));
    blocks.extend(link("Open", &escaped.external_url, None).map(|button| Block::Actions { elements: vec![button] }));
    blocks
}

fn header(title: &str, room: &mut Room) -> Block {
    let title = room.take(one_line(title).trim(), HEADER_CHARS_MAX);
    Block::Header { text: Text::PlainText(if title.is_empty() { "Alerts".to_owned() } else { title }) }
}

/// A text as sections, cut between its lines where it is too long for one.
fn sections(text: &str, room: &mut Room) -> Vec<Block> {
    let text = room.take(text.trim(), usize::MAX);
    let mut parts: Vec<String> = Vec::new();
    let mut chars = SECTION_CHARS_MAX;
    for line in text.lines() {
        let line = truncated_slack(line, SECTION_CHARS_MAX - 1);
        let line_chars = line.chars().count() + 1;
        match parts.last_mut() {
            Some(part) if chars + line_chars <= SECTION_CHARS_MAX => {
                part.push('\n');
                part.push_str(&line);
                chars += line_chars;
            }
            _ => {
                parts.push(line);
                chars = line_chars;
            }
        }
    }
    parts.into_iter().filter(|part| !part.trim().is_empty()).map(section).collect()
}

fn section(text: String) -> Block {
    Block::Section { text: Some(Text::Mrkdwn(text)), fields: Vec::new() }
}

/// The fields of the configuration, or else the labels that all alerts have in common.
fn fields(config: &Slack, escaped: &Notification, texts: &Texts<'_>, room: &mut Room) -> Result<Vec<Block>> {
    let mut pairs = Vec::new();
    for field in &config.fields {
        pairs.push(((texts.shown)(&field.title)?, (texts.shown)(&field.value)?));
    }
    if pairs.is_empty() {
        let common = escaped.common_labels();
        let labels = common.iter().filter(|(name, _)| *name != ALERTNAME).take(FIELDS_MAX);
        pairs = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }
    let mut all: Vec<Text> = Vec::new();
    for (title, value) in pairs.into_iter().take(FIELDS_MAX * FIELD_SECTIONS_MAX) {
        let text = room.take(&format!("*{}*\n{value}", one_line(&title)), FIELD_CHARS_MAX);
        if !text.is_empty() {
            all.push(Text::Mrkdwn(text));
        }
    }
    let mut blocks = Vec::new();
    while !all.is_empty() {
        let rest = all.split_off(all.len().min(FIELDS_MAX));
        blocks.push(Block::Section { text: None, fields: std::mem::replace(&mut all, rest) });
    }
    Ok(blocks)
}

/// Each alert, as many as there is room for, those that fire first; the rest is counted.
fn alerts(escaped: &Notification, room: &mut Room) -> Vec<Block> {
    let common = escaped.common_labels();
    let all: Vec<&Shown> = escaped.firing().chain(escaped.resolved()).collect();
    let mut blocks = Vec::new();
    for alert in all.iter().take(ALERTS_MAX) {
        let text = truncated_slack(&one(alert, &common, escaped.now_ms), ALERT_CHARS_MAX);
        if text.chars().count() > room.0 {
            break;
        }
        blocks.push(section(room.take(&text, ALERT_CHARS_MAX)));
    }
    let rest = &all[blocks.len()..];
    if !rest.is_empty() {
        let ended = rest.iter().filter(|alert| alert.is_resolved(escaped.now_ms)).count();
        blocks.push(section(format!("… and {} more that fire, {ended} more that ended", rest.len() - ended)));
    }
    blocks
}

/// An alert: its summary, what it says, and the labels that tell it from the others.
fn one(alert: &Shown, common: &Labels, now_ms: i64) -> String {
    let mark = if alert.is_resolved(now_ms) { ":white_check_mark:" } else { ":red_circle:" };
    let annotation = |name: &str| Some(alert.annotations.get(name)).filter(|text| !text.is_empty());
    let name = || Some(alert.labels.get(ALERTNAME)).filter(|name| !name.is_empty()).unwrap_or("alert");
    let mut lines = vec![format!("{mark} *{}*", one_line(annotation("summary").unwrap_or_else(name)))];
    lines.extend(annotation("description").map(|text| text.trim().to_owned()));
    let own = alert.labels.iter().filter(|(name, value)| common.get(name) != *value);
    let own: Vec<String> = own.map(|(name, value)| format!("`{name}={}`", one_line(value).replace('`', "'"))).collect();
    if !own.is_empty() {
        lines.push(own.join(" "));
    }
    lines.join("\n")
}

/// How many there are, why it is told, and what the configuration adds.
fn counts(escaped: &Notification, footer: &str) -> String {
    let mut parts = vec![
        format!("{} firing", escaped.firing().count()),
        format!("{} resolved", escaped.resolved().count()),
        escaped.reason.text().to_owned(),
    ];
    parts.extend(Some(footer.trim()).filter(|footer| !footer.is_empty()).map(str::to_owned));
    parts.join(" · ")
}

fn context(text: &str) -> Block {
    Block::Context { elements: vec![Text::Mrkdwn(truncated_slack(text, CONTEXT_CHARS_MAX))] }
}

/// Links: those of the configuration, to the group, and to a silence of it while it fires.
fn buttons(config: &Slack, plain: &Notification, texts: &Texts<'_>) -> Result<Option<Block>> {
    let mut all = Vec::new();
    for action in config.actions.iter().filter(|action| !action.url.is_empty()) {
        let style = (texts.plain)(&action.style)?;
        let style = ["primary", "danger"].into_iter().find(|known| *known == style);
        all.extend(link(&(texts.shown)(&action.text)?, &(texts.plain)(&action.url)?, style));
    }
    all.truncate(BUTTONS_MAX - 2);
    all.extend(link("Open", &(texts.plain)(&config.title_link)?, None));
    if plain.is_firing() {
        all.extend(link("Silence", &silence_url(plain), None));
    }
    Ok((!all.is_empty()).then_some(Block::Actions { elements: all }))
}

/// A button, if its link is one and not too long: half of it leads nowhere.
fn link(text: &str, url: &str, style: Option<&'static str>) -> Option<Button> {
    let text = truncated(one_line(text).trim(), BUTTON_CHARS_MAX);
    let is_good = Url::parse(url).is_ok() && url.chars().count() <= URL_CHARS_MAX && !text.is_empty();
    is_good.then(|| Button { kind: "button", text: Text::PlainText(text), url: url.to_owned(), style })
}

/// Where a silence of the group begins, in the form of Alertmanager's pages, like the links of its templates.
fn silence_url(plain: &Notification) -> String {
    let common = plain.common_labels();
    let labels = if plain.group_labels.is_empty() { &common } else { &plain.group_labels };
    let matchers: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", promql::quoted(value))).collect();
    let filter: String = form_urlencoded::byte_serialize(format!("{{{}}}", matchers.join(",")).as_bytes()).collect();
    format!("{}/#/silences/new?filter={}", plain.external_url, filter.replace('+', "%20"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::{request, tests::of};
    use crate::notify::{
        Notification,
        tests::{Fake, alert, firing, notification, storm},
    };

    fn sent(config: &str, told: &Notification) -> Value {
        let config = of(&format!("{{blocks: true, channel: c, {config}}}"));
        serde_json::from_slice(&request(&config, told, &Fake).unwrap().body).unwrap()
    }

    const HOOK: &str = "api_url: 'https://h/x', title_link: 'http://r/', title: '{{ l alertname }}', pretext: '', text: '', footer: ''";

    /// All texts, and the blocks that have them.
    fn texts(body: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let mut look = vec![body["blocks"].clone()];
        while let Some(value) = look.pop() {
            match value {
                Value::Array(all) => look.extend(all),
                Value::Object(all) => {
                    if let (Some(Value::String(text)), true) =
                        (all.get("text"), matches!(all["type"].as_str(), Some("mrkdwn" | "plain_text")))
                    {
                        found.push(text.clone());
                    }
                    look.extend(all.into_iter().map(|(_, value)| value));
                }
                _ => {}
            }
        }
        found
    }

    /// Is it what Slack takes?
    fn check(body: &Value) {
        let blocks = body["blocks"].as_array().unwrap();
        assert!((1..=50).contains(&blocks.len()), "{} blocks", blocks.len());
        let all: usize = texts(body).iter().map(|text| text.chars().count()).sum();
        assert!(all <= 10_000, "{all} characters");
        assert!(texts(body).iter().all(|text| !text.is_empty()), "{body}");
        let chars = |value: &Value| value["text"].as_str().unwrap().chars().count();
        for block in blocks {
            match block["type"].as_str().unwrap() {
                "header" => assert!(chars(&block["text"]) <= 150),
                "section" => {
                    assert!(block.get("text").is_none_or(|text| chars(text) <= 3_000));
                    let fields = block["fields"].as_array().cloned().unwrap_or_default();
                    assert!(fields.len() <= 10 && fields.iter().all(|field| chars(field) <= 2_000));
                    assert!(!fields.is_empty() || block.get("text").is_some());
                }
                "context" => assert!(block["elements"].as_array().unwrap().len() <= 10),
                "actions" => {
                    let buttons = block["elements"].as_array().unwrap();
                    assert!((1..=25).contains(&buttons.len()));
                    for button in buttons {
                        let url = button["url"].as_str().unwrap();
                        assert!(url.starts_with("http") && url.len() <= 3_000);
                        assert!(chars(&button["text"]) <= 75);
                    }
                }
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn a_group_is_a_header_its_labels_its_alerts_and_links() {
        let config =
            format!("{HOOK}, actions: [{{type: button, text: Runbook, url: 'http://r/?a&b', style: primary}}]");
        let body = sent(&config, &firing("a <b> & c"));
        check(&body);
        let expected = json!([
            {"type": "header", "text": {"type": "plain_text", "text": "Hot"}},
            {"type": "section", "fields": [{"type": "mrkdwn", "text": "*instance*\na:1"}]},
            {"type": "section", "text": {"type": "mrkdwn", "text": ":red_circle: *a &lt;b&gt; &amp; c*"}},
            {"type": "context", "elements": [{"type": "mrkdwn", "text": "1 firing · 0 resolved · first notification"}]},
            {"type": "actions", "elements": [
                {"type": "button", "text": {"type": "plain_text", "text": "Runbook"}, "url": "http://r/?a&b", "style": "primary"},
                {"type": "button", "text": {"type": "plain_text", "text": "Open"}, "url": "http://r/"},
                {"type": "button", "text": {"type": "plain_text", "text": "Silence"},
                 "url": "http://am/#/silences/new?filter=%7Balertname%3D%22Hot%22%7D"},
            ]},
        ]);
        assert_eq!(body["blocks"], expected, "{body:#}");
        assert_eq!((&body["attachments"], &body["text"]), (&json!([]), &json!("slack.default.fallback")));
    }

    #[test]
    fn what_there_is_no_room_for_is_counted() {
        let alerts: Vec<_> = (0..100)
            .map(|nth| alert(&[("alertname", "Hot"), ("instance", &format!("i{nth}"))], &"x".repeat(900), nth % 2 == 0))
            .collect();
        let body = sent(HOOK, &notification(&alerts));
        check(&body);
        let texts = texts(&body);
        let rest = texts.iter().find(|text| text.starts_with("… and")).unwrap();
        let shown = texts.iter().filter(|text| text.starts_with(":red_circle:")).count();
        assert!(shown > 5, "{shown}");
        assert_eq!(*rest, format!("… and {} more that fire, 50 more that ended", 50 - shown));
        check(&sent(HOOK, &storm(500, "<&>")));
    }

    #[test]
    fn a_bot_replies_and_edits_with_blocks_too() {
        let told = Notification {
            answer: Some(r#"{"ts":"1","channel":"C"}"#.to_owned()),
            reason: crate::dedup::Reason::NewAlerts,
            ..firing("hot")
        };
        let bot = HOOK.replace("api_url: 'https://h/x'", "app_token: xoxb-1");
        let reply = sent(&format!("{bot}, thread_replies: true"), &told);
        assert_eq!((&reply["thread_ts"], &reply["blocks"][0]["type"]), (&json!("1"), &json!("header")));
        let edit = sent(&format!("{bot}, update_message: true"), &told);
        assert_eq!((&edit["ts"], &edit["channel"], &edit["attachments"]), (&json!("1"), &json!("C"), &json!([])));
        assert_eq!(edit["blocks"][0]["type"], "header");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn slack_takes_whatever_alerts_say(name in any::<String>(), text in ".{0,4000}", count in 1_usize..60) {
            let alerts: Vec<_> = (0..count)
                .map(|nth| alert(&[("alertname", name.as_str()), ("i", &format!("{text}{nth}"))], &text, nth % 3 != 0))
                .collect();
            check(&sent(HOOK, &notification(&alerts)));
            let said = "api_url: 'https://h/x', title: '{{ l alertname }}', pretext: '{{ l alertname }}', text: '{{ a summary }}',
                footer: '{{ a summary }}', title_link: '{{ a summary }}', fields: [{title: a, value: '{{ a summary }}'}, {title: b, value: c}]";
            check(&sent(said, &notification(&alerts[..1])));
        }
    }
}
