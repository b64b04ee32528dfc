//! Slack: messages with one attachment, or of blocks, to an incoming webhook or by a bot.
//!
//! Called by the facade. Invariants: what came with alerts calls nobody and links nowhere; texts are within Slack's limits; a group that
//! fires anew gets a message of its own, because an edit of an old one notifies nobody. Not here: what is in blocks (`blocks`).
//! Spec: <https://docs.slack.dev/messaging>, Alertmanager's `slack_config`.

mod answer;
mod blocks;

pub use answer::{Uploading, answer, began, posted, share, shared, upload};
use serde::{Deserialize, Serialize};

use super::{
    Answer, Notification, Render, Request, expand,
    http::{json, judged, post_json, retry_after_ms},
    text::{for_slack, truncated, truncated_slack},
};
use crate::{
    Error, Result,
    alertmanager::Delivered,
    config::slack::{Slack, SlackAction, SlackField},
    dedup::Reason,
    outbox::Verdict,
};

/// Where the text of a message is cut by Slack.
const MESSAGE_CHARS_MAX: usize = 40_000;
/// All of what is shown of an attachment: Slack makes blocks of it, took 9,597 characters in blocks and refused 11,341, for good.
const TEXT_CHARS_MAX: usize = 9_500;
/// What is shown where there is no room for an attachment.
const FALLBACK_CHARS_MAX: usize = 2_000;
const TITLE_CHARS_MAX: usize = 1_024;
const FIELD_CHARS_MAX: usize = 2_000;
const BUTTON_CHARS_MAX: usize = 75;
const URL_CHARS_MAX: usize = 3_000;

/// The body of `chat.postMessage`, `chat.update` and of webhooks.
#[derive(Serialize, Default)]
struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    channel: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ts: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thread_ts: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_emoji: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    icon_url: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    link_names: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    text: String,
    /// None of a message of blocks: an edit takes away what was there.
    attachments: Vec<Attachment>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocks: Vec<blocks::Block>,
}

#[derive(Serialize, Default)]
struct Attachment {
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title_link: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pretext: String,
    text: String,
    fallback: String,
    callback_id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<Field>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action>,
    #[serde(skip_serializing_if = "String::is_empty")]
    image_url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    thumb_url: String,
    footer: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    color: String,
    mrkdwn_in: Vec<String>,
}

#[derive(Serialize)]
struct Field {
    title: String,
    value: String,
    short: bool,
}

#[derive(Serialize)]
struct Action {
    #[serde(rename = "type")]
    kind: String,
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    style: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm: Option<Confirm>,
}

#[derive(Serialize)]
struct Confirm {
    text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    title: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    ok_text: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    dismiss_text: String,
}

/// What is kept of an answer: where a group's message is.
#[derive(Serialize, Deserialize)]
struct Place {
    ts: String,
    channel: String,
}

/// What Slack says.
#[derive(Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    ts: String,
    message: Option<SaidMessage>,
}

#[derive(Deserialize)]
struct SaidMessage {
    thread_ts: Option<String>,
}

/// Renders texts that Slack shows as markup, and others that it takes as they are.
struct Texts<'a> {
    shown: &'a dyn Fn(&str) -> Result<String>,
    plain: &'a dyn Fn(&str) -> Result<String>,
}

/// The request that tells a notification.
///
/// # Errors
/// `Invalid` if a template cannot be rendered, `Unavailable` if a secret cannot be read.
pub fn request(config: &Slack, notification: &Notification, render: &dyn Render) -> Result<Request> {
    let escaped = notification.with_texts(for_slack);
    let (shown, plain) = (expand(render, &escaped), expand(render, notification));
    let texts = Texts { shown: &shown, plain: &plain };
    let mut url = config.api_url.as_ref().ok_or_else(|| Error::invalid("there is no `api_url`"))?.read()?;
    let is_summary = !notification.summary.is_empty();
    let (attachments, blocks) = match (config.blocks == Some(true), is_summary) {
        (false, false) => (vec![attachment(config, &escaped, &texts)?], Vec::new()),
        (false, true) => (vec![summary(&escaped)], Vec::new()),
        (true, false) => (Vec::new(), blocks::group(config, (&escaped, notification), &texts)?),
        (true, true) => (Vec::new(), blocks::summary(&escaped)),
    };
    // Beside blocks it is what phones show before one looks.
    let text = match (shown(&config.message_text)?, blocks.is_empty(), is_summary) {
        (text, false, false) if text.is_empty() => truncated_slack(&shown(&config.fallback)?, FALLBACK_CHARS_MAX),
        (text, false, true) if text.is_empty() => escaped.summary_title(),
        (text, ..) => truncated_slack(&text, MESSAGE_CHARS_MAX),
    };
    let mut message = Message {
        channel: plain(&config.channel)?,
        username: plain(&config.username)?,
        icon_emoji: plain(&config.icon_emoji)?,
        icon_url: plain(&config.icon_url)?,
        link_names: config.link_names,
        text,
        attachments,
        blocks,
        ..Message::default()
    };
    if let Some(Place { ts, channel }) = place(notification) {
        if config.update_message {
            url = url.replace("chat.postMessage", "chat.update");
            (message.ts, message.channel) = (ts, channel);
        } else if config.thread_replies == Some(true) {
            (message.thread_ts, message.channel) = (ts, channel);
        }
    }
    post_json(url, json(&message)?, config.http_config.as_ref(), Some(config.timeout))
}

/// A remark about a group, as a reply to its message; none if there is no message.
///
/// # Errors
/// `Unavailable` if a secret cannot be read.
pub fn remark(config: &Slack, notification: &Notification) -> Result<Option<Request>> {
    let Some(Place { ts, channel }) = place(notification) else { return Ok(None) };
    let url = config.api_url.as_ref().ok_or_else(|| Error::invalid("there is no `api_url`"))?.read()?;
    let text = truncated_slack(&for_slack(&notification.remark()), MESSAGE_CHARS_MAX);
    let message = Message { channel, thread_ts: ts, text, ..Message::default() };
    post_json(url, json(&message)?, config.http_config.as_ref(), Some(config.timeout)).map(Some)
}

/// Does an answer name a message that can be replied to?
pub(crate) fn has_message(answer: &str) -> bool {
    serde_json::from_str::<Place>(answer).is_ok_and(|place| !place.ts.is_empty())
}

/// Where the group's message is, unless the group begins anew. What ended has none: see [`delivered`](super::delivered).
fn place(notification: &Notification) -> Option<Place> {
    let place: Place = serde_json::from_str(notification.answer.as_deref()?).ok()?;
    (notification.reason != Reason::First && !place.ts.is_empty()).then_some(place)
}

fn attachment(config: &Slack, escaped: &Notification, Texts { shown, plain }: &Texts<'_>) -> Result<Attachment> {
    let mrkdwn_in = match config.mrkdwn_in.is_empty() {
        true => ["fallback", "pretext", "text"].map(str::to_owned).to_vec(),
        false => config.mrkdwn_in.clone(),
    };
    let text = |template: &str| Ok::<_, Error>(truncated_slack(&shown(template)?, TEXT_CHARS_MAX));
    let field = |field: &SlackField| {
        Ok(Field {
            title: truncated_slack(&shown(&field.title)?, TITLE_CHARS_MAX),
            value: truncated_slack(&shown(&field.value)?, FIELD_CHARS_MAX),
            short: field.short.unwrap_or(config.short_fields),
        })
    };
    let attachment = Attachment {
        title: truncated_slack(&escaped.titled(&shown(&config.title)?), TITLE_CHARS_MAX),
        title_link: plain(&config.title_link)?,
        pretext: text(&config.pretext)?,
        text: text(&config.text)?,
        fallback: truncated_slack(&shown(&config.fallback)?, FALLBACK_CHARS_MAX),
        callback_id: plain(&config.callback_id)?,
        fields: config.fields.iter().map(field).collect::<Result<_>>()?,
        actions: config.actions.iter().map(|of| action(of, shown, plain)).collect::<Result<_>>()?,
        image_url: plain(&config.image_url)?,
        thumb_url: plain(&config.thumb_url)?,
        footer: truncated_slack(&shown(&config.footer)?, FIELD_CHARS_MAX),
        color: plain(&config.color)?,
        mrkdwn_in,
    };
    Ok(attachment.within(TEXT_CHARS_MAX))
}

impl Attachment {
    /// The same with at most so many characters shown, first those of what matters most.
    fn within(mut self, mut chars: usize) -> Self {
        let mut cut = |text: &mut String| {
            *text = truncated_slack(text, chars);
            chars -= text.chars().count();
        };
        [&mut self.title, &mut self.text, &mut self.pretext].into_iter().for_each(&mut cut);
        for field in &mut self.fields {
            cut(&mut field.title);
            cut(&mut field.value);
        }
        cut(&mut self.footer);
        self.fields.retain(|field| !field.value.is_empty());
        self
    }
}

fn action(
    of: &SlackAction,
    shown: &dyn Fn(&str) -> Result<String>,
    plain: &dyn Fn(&str) -> Result<String>,
) -> Result<Action> {
    let url = plain(&of.url)?;
    let confirm = of.confirm.as_ref().map(|confirm| {
        Ok::<_, Error>(Confirm {
            text: shown(&confirm.text)?,
            title: shown(&confirm.title)?,
            ok_text: shown(&confirm.ok_text)?,
            dismiss_text: shown(&confirm.dismiss_text)?,
        })
    });
    Ok(Action {
        kind: plain(&of.kind)?,
        text: truncated_slack(&shown(&of.text)?, BUTTON_CHARS_MAX),
        // Half a link leads nowhere.
        url: if url.chars().count() > URL_CHARS_MAX { String::new() } else { url },
        style: plain(&of.style)?,
        name: plain(&of.name)?,
        value: truncated(&plain(&of.value)?, FIELD_CHARS_MAX),
        confirm: confirm.transpose()?,
    })
}

fn summary(escaped: &Notification) -> Attachment {
    let title = escaped.summary_title();
    Attachment {
        title: truncated_slack(&title, TITLE_CHARS_MAX),
        title_link: escaped.external_url.to_string(),
        text: escaped.summary_lines(TEXT_CHARS_MAX),
        fallback: title,
        color: if escaped.is_firing() { "danger" } else { "good" }.to_owned(),
        ..Attachment::default()
    }
}

/// What an answer means, and where the message is.
#[must_use]
pub fn delivered(answer: &Answer) -> Delivered {
    let said: Option<Said> = serde_json::from_slice(&answer.body).ok();
    let verdict = match (&said, answer.status) {
        (Some(said), 200..300) if said.ok => Verdict::Sent,
        (Some(said), 200..300) => refusal(&said.error, answer),
        (None, 200..300) if answer.text() != "ok" => Verdict::Refused(format!("Slack answered: {}", answer.text())),
        _ => judged(answer, Answer::text),
    };
    let kept = |Said { channel, ts, message, .. }: Said| {
        let ts = message.and_then(|message| message.thread_ts).unwrap_or(ts);
        let place = Place { ts, channel };
        if place.ts.is_empty() { String::new() } else { serde_json::to_string(&place).unwrap_or_default() }
    };
    let answer = if verdict == Verdict::Sent { said.map(kept).unwrap_or_default() } else { String::new() };
    Delivered { verdict, answer }
}

/// Is the message that was to be changed, or replied to, not there any more? It has to be told without the answer before, then.
#[must_use]
pub fn wants_new_message(answer: &Answer) -> bool {
    const GONE: [&str; 6] = [
        "message_not_found",
        "cant_update_message",
        "edit_window_closed",
        "thread_not_found",
        "invalid_thread_ts",
        "cannot_reply_to_message",
    ];
    serde_json::from_slice::<Said>(&answer.body).is_ok_and(|said| !said.ok && GONE.contains(&said.error.as_str()))
}

/// Of an error of the API, which comes with status 200.
fn refusal(error: &str, answer: &Answer) -> Verdict {
    const PASSING: [&str; 5] =
        ["fatal_error", "internal_error", "service_unavailable", "request_timeout", "team_added_to_org"];
    let why = format!("Slack answered: {}", truncated(error, 100));
    match error {
        "ratelimited" | "rate_limited" | "message_limit_exceeded" => {
            Verdict::Limited(retry_after_ms(answer).unwrap_or(super::http::LIMITED_MS), why)
        }
        _ if PASSING.contains(&error) => Verdict::Failed(why),
        _ => Verdict::Refused(why),
    }
}

#[cfg(test)]
mod tests;
