//! Microsoft Teams: an adaptive card, by a workflow's webhook.
//!
//! Called by the facade. Invariants: a body is within what Teams takes; what came with alerts links nowhere under another name.
//! Spec: <https://adaptivecards.io/explorer>, Alertmanager's `msteamsv2_config`.

use serde_json::{Value, json as value};

use super::{
    Answer, Notification, Render, Request, expand,
    http::{judged, post_json},
    text::{fitted, for_markdown, truncated},
};
use crate::{Error, Result, alertmanager::Delivered, config::built::MsTeamsFlow};

/// Teams refuses messages of more than 28 KB.
const BODY_BYTES_MAX: usize = 28 << 10;
const TITLE_CHARS_MAX: usize = 1_024;
/// Characters of a summary: they fit a body even if each takes several bytes.
const SUMMARY_CHARS_MAX: usize = 6_000;

/// The request that tells a notification.
///
/// # Errors
/// `Invalid` if a template cannot be rendered, `Unavailable` if a secret cannot be read.
pub fn request(config: &MsTeamsFlow, notification: &Notification, render: &dyn Render) -> Result<Request> {
    let escaped = notification.with_texts(for_markdown);
    let shown = expand(render, &escaped);
    let (title, text) = match escaped.summary.is_empty() {
        true => (escaped.titled(&shown(&config.title)?), shown(&config.text)?),
        // In Markdown a line that ends with two spaces ends.
        false => (escaped.summary_title(), escaped.summary_lines(SUMMARY_CHARS_MAX).replace('\n', "  \n")),
    };
    let title = truncated(&title, TITLE_CHARS_MAX);
    let color = if notification.is_firing() { "Attention" } else { "Good" };
    let body = fitted(&text, BODY_BYTES_MAX, |text| card(&title, text, color).to_string().into_bytes());
    let url = config.webhook_url.as_ref().ok_or_else(|| Error::invalid("there is no `webhook_url`"))?.read()?;
    post_json(url, body, config.http_config.as_ref(), None)
}

fn card(title: &str, text: &str, color: &str) -> Value {
    let content = value!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {
                "type": "TextBlock",
                "text": title,
                "weight": "Bolder",
                "size": "Medium",
                "wrap": true,
                "style": "heading",
                "color": color,
            },
            { "type": "TextBlock", "text": text, "wrap": true },
        ],
        "msteams": { "width": "full" },
    });
    value!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": content,
        }],
    })
}

/// What an answer means.
#[must_use]
pub fn delivered(answer: &Answer) -> Delivered {
    Delivered { verdict: judged(answer, Answer::text), answer: String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::tests::{Fake, ended, firing, receiver, storm};

    fn sent(told: &Notification) -> Value {
        let receiver =
            receiver("  msteamsv2_configs: [{webhook_url: 'https://t/x', title: T, text: '{{ a summary }}'}]");
        let request = request(&receiver.msteamsv2[0].value, told, &Fake).unwrap();
        assert!(request.body.len() <= BODY_BYTES_MAX);
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn a_card_is_that_of_alertmanager() {
        let expected = r#"{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","contentUrl":null,"content":{"$schema":"http://adaptivecards.io/schemas/adaptive-card.json","type":"AdaptiveCard","version":"1.4","body":[{"type":"TextBlock","text":"T","weight":"Bolder","size":"Medium","wrap":true,"style":"heading","color":"Attention"},{"type":"TextBlock","text":"hot","wrap":true}],"msteams":{"width":"full"}}}]}"#;
        assert_eq!(sent(&firing("hot")).to_string(), expected);
        assert_eq!(sent(&ended())["attachments"][0]["content"]["body"][0]["color"], "Good");
    }

    #[test]
    fn a_long_text_is_cut_to_fit_and_links_are_broken() {
        let long = sent(&firing(&"\u{1}é[a](b)".repeat(20_000)));
        let text = long["attachments"][0]["content"]["body"][1]["text"].as_str().unwrap().to_owned();
        assert!(text.ends_with('…') && text.len() > 10_000 && !text.contains("]("));
        let text = &sent(&storm(50, "g"))["attachments"][0]["content"]["body"][1]["text"];
        assert!(text.as_str().unwrap().starts_with("[FIRING:1] alertname=g0  \n[RESOLVED:1]"));
    }
}
