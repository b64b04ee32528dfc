//! Discord: a message with one embed, by a webhook.
//!
//! Called by the facade. Invariants: texts are within Discord's limits; what came with alerts calls nobody.
//! Spec: <https://discord.com/developers/docs/resources/webhook#execute-webhook>, Alertmanager's `discord_config`.

use serde_json::json as value;

use super::{
    Answer, Notification, Render, Request, expand,
    http::{json, judged, post_json},
    text::{for_markdown, truncated},
};
use crate::{Error, Result, alertmanager::Delivered, config::built::Discord};

const TITLE_CHARS_MAX: usize = 256;
const DESCRIPTION_CHARS_MAX: usize = 4_096;
const CONTENT_CHARS_MAX: usize = 2_000;
const USERNAME_CHARS_MAX: usize = 80;
const RED: u32 = 0x99_2d22;
const GREEN: u32 = 0x2e_cc71;

/// The request that tells a notification.
///
/// # Errors
/// `Invalid` if a template cannot be rendered, `Unavailable` if a secret cannot be read.
pub fn request(config: &Discord, notification: &Notification, render: &dyn Render) -> Result<Request> {
    let escaped = notification.with_texts(for_markdown);
    let shown = expand(render, &escaped);
    let (content, title, description) = match escaped.summary.is_empty() {
        true => (shown(&config.content)?, escaped.titled(&shown(&config.title)?), shown(&config.message)?),
        false => (String::new(), escaped.summary_title(), escaped.summary_lines(DESCRIPTION_CHARS_MAX)),
    };
    let mut message = value!({
        "content": truncated(&content, CONTENT_CHARS_MAX),
        "embeds": [{
            "title": truncated(&title, TITLE_CHARS_MAX),
            "description": truncated(&description, DESCRIPTION_CHARS_MAX),
            "color": if notification.is_firing() { RED } else { GREEN },
        }],
    });
    for (name, of) in [("username", &config.username), ("avatar_url", &config.avatar_url)] {
        if !of.is_empty() {
            message[name] = truncated(of, if name == "username" { USERNAME_CHARS_MAX } else { 2_048 }).into();
        }
    }
    let url = config.webhook_url.as_ref().ok_or_else(|| Error::invalid("there is no `webhook_url`"))?.read()?;
    post_json(url, json(&message)?, config.http_config.as_ref(), None)
}

/// What an answer means.
#[must_use]
pub fn delivered(answer: &Answer) -> Delivered {
    Delivered { verdict: judged(answer, Answer::text), answer: String::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::{
        notify::tests::{Fake, answer, ended, firing, receiver, storm},
        outbox::Verdict,
    };

    const CONFIG: &str = "{webhook_url: 'https://d/x', title: '{{ a summary }}', message: '{{ a summary }}',
        content: '@here {{ a summary }}', username: u}";

    fn sent(told: &Notification) -> Value {
        let receiver = receiver(&format!("  discord_configs: [{CONFIG}]"));
        serde_json::from_slice(&request(&receiver.discord[0].value, told, &Fake).unwrap().body).unwrap()
    }

    #[test]
    fn a_message_has_one_embed() {
        let expected =
            r#"{"content":"@here hot","embeds":[{"title":"hot","description":"hot","color":10038562}],"username":"u"}"#;
        assert_eq!(sent(&firing("hot")).to_string(), expected);
        assert_eq!(sent(&ended())["embeds"][0]["color"], 3_066_993);
    }

    #[test]
    fn labels_call_nobody_and_long_texts_are_cut() {
        let told = sent(&firing("@everyone <@12> [x](http://evil)"));
        let expected = "@here @\u{200b}everyone <\u{200b}@12> [x]\u{200b}(http://evil)";
        assert_eq!(told["content"], expected);
        let long = sent(&firing(&"é".repeat(9_000)));
        for (text, max) in
            [(&long["content"], 2_000), (&long["embeds"][0]["title"], 256), (&long["embeds"][0]["description"], 4_096)]
        {
            assert_eq!(text.as_str().unwrap().chars().count(), max);
        }
        let many = sent(&storm(100, &"g".repeat(150)));
        let text = many["embeds"][0]["description"].as_str().unwrap();
        assert!(text.chars().count() <= 4_096 && text.ends_with(" more"), "{text}");
    }

    #[test]
    fn it_says_in_seconds_when_to_come_again() {
        let limited = delivered(&answer(429, None, r#"{"message":"slow","retry_after":1.25}"#));
        assert!(matches!(limited.verdict, Verdict::Limited(1_250, _)), "{limited:?}");
    }
}
