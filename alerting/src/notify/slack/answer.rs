//! The answer to a question for Slack: a message with a table in a block of code, and, of a bot, the whole answer as a file under it.
//!
//! Called by the facade for the message, and by whoever carries requests for the file: Slack gives a place for it ([`upload`], [`began`]), takes
//! its bytes there, and shows it where it is told to ([`share`]). Nobody sees the file before, and it is shown last, as a reply to the message;
//! so what fails before the message leaves nothing to be seen, and what fails after it is tried again without another message ([`posted`]).
//! Where no file can be brought, because a bot lacks the scope or for long, the message goes without it and says so.
//! A bot needs the scopes `chat:write` and `files:write`.
//! Invariants: what came with data calls nobody, links nowhere and does not end the block; the bot's token goes to Slack's API alone, not to
//! the place for the bytes. Spec: <https://docs.slack.dev/messaging/working-with-files>.

use form_urlencoded::Serializer;
use serde::{Deserialize, Serialize};

use super::{MESSAGE_CHARS_MAX, Message, Place, delivered, has_message};
use crate::{
    Error, Result,
    alertmanager::Delivered,
    config::{slack::Slack, values::Url},
    notify::{
        Answer, Notification, Render, Report, Request, expand,
        http::{TIMEOUT, headers_of, json, judged, post_json},
        report::File,
        text::{for_slack, for_slack_code, truncated_slack},
    },
    outbox::Verdict,
};

/// Characters of a message: Slack breaks those in two that are longer than some 4,000.
const TEXT_CHARS_MAX: usize = 3_900;
/// Characters of a table, less where the rest is long.
const TABLE_CHARS_MAX: usize = 3_200;
/// Characters of a link: it counts as text.
const LINK_CHARS_MAX: usize = 1_000;
/// Characters for what is said below a table, and around it.
const WORDS_CHARS_MAX: usize = 600;
/// The method that posts a message; others stand beside it.
const POST_MESSAGE: &str = "chat.postMessage";

/// The message that tells an answer.
///
/// # Errors
/// `Invalid` if a template of the configuration cannot be rendered, `Unavailable` if a secret cannot be read.
pub fn answer(
    config: &Slack,
    (notification, report): (&Notification, &Report),
    render: &dyn Render,
) -> Result<Request> {
    let plain = expand(render, notification);
    let url = config.api_url.as_ref().ok_or_else(|| Error::invalid("there is no `api_url`"))?.read()?;
    let headline = for_slack(&notification.titled(&report.headline())).replace('*', "∗");
    // Half a link leads nowhere.
    let link = for_slack(&report.link);
    let link = if link.chars().count() > LINK_CHARS_MAX { String::new() } else { format!(" <{link}|Ask again>") };
    let rest = headline.chars().count() + link.chars().count() + WORDS_CHARS_MAX;
    let (table, shown) = report.table(TABLE_CHARS_MAX.min(TEXT_CHARS_MAX.saturating_sub(rest)), for_slack_code);
    let words = for_slack(&report.words(shown));
    let text = match report.failure {
        Some(_) => format!("*{headline}*\n{words}{link}"),
        None => format!("*{headline}*\n```\n{table}\n```\n{words}{link}"),
    };
    let message = Message {
        channel: plain(&config.channel)?,
        username: plain(&config.username)?,
        icon_emoji: plain(&config.icon_emoji)?,
        icon_url: plain(&config.icon_url)?,
        text: truncated_slack(&text, MESSAGE_CHARS_MAX),
        ..Message::default()
    };
    post_json(url, json(&message)?, config.http_config.as_ref(), Some(config.timeout))
}

/// The request for a place for a file; none unless it is a bot that tells.
///
/// # Errors
/// `Unavailable` if a secret cannot be read.
pub fn upload(config: &Slack, file: &File) -> Result<Option<Request>> {
    let Some(url) = method(config, "files.getUploadURLExternal")? else { return Ok(None) };
    let mut form = Serializer::new(String::new());
    form.append_pair("filename", &file.name).append_pair("length", &file.bytes.len().to_string());
    let mut headers = vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
    headers.extend(headers_of(config.http_config.as_ref())?);
    let body = form.finish().into_bytes();
    Ok(Some(Request { method: "POST", url, headers, body, timeout: TIMEOUT }))
}

/// A place for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploading {
    url: String,
    file_id: String,
}

#[derive(Deserialize)]
struct SaidOfPlace {
    upload_url: String,
    file_id: String,
}

/// The place that Slack gives for a file.
///
/// # Errors
/// What it means that there is none.
pub fn began(answer: &Answer) -> Result<Uploading, Delivered> {
    let Delivered { verdict, .. } = delivered(answer);
    if verdict != Verdict::Sent {
        return Err(of(verdict, "no place for the file"));
    }
    let place: Option<SaidOfPlace> = serde_json::from_slice(&answer.body).ok();
    let place = place.filter(|place| Url::parse(&place.upload_url).is_ok());
    let none = || of(Verdict::Failed("Slack named none".to_owned()), "no place for the file");
    let SaidOfPlace { upload_url, file_id } = place.ok_or_else(none)?;
    Ok(Uploading { url: upload_url, file_id })
}

impl Uploading {
    /// The request that brings the file there. It has no token: the address is one.
    #[must_use]
    pub fn bytes(&self, file: &File) -> Request {
        let headers = vec![("Content-Type".to_owned(), "application/octet-stream".to_owned())];
        let (url, body) = (self.url.clone(), file.bytes.clone());
        Request { method: "POST", url, headers, body, timeout: TIMEOUT }
    }

    /// Is the file there?
    ///
    /// # Errors
    /// What it means that it is not.
    pub fn has_bytes(&self, answer: &Answer) -> Result<(), Delivered> {
        // What the place says may name it.
        match judged(answer, |_| String::new()) {
            Verdict::Sent => Ok(()),
            // Another place is given the next time.
            Verdict::Refused(why) => Err(of(Verdict::Failed(why), "the file was not taken")),
            verdict => Err(of(verdict, "the file was not taken")),
        }
    }
}

/// The answer to the message, if it was posted with an attempt before this.
#[must_use]
pub fn posted(notification: &Notification) -> Option<&str> {
    notification.answer.as_deref().filter(|answer| has_message(answer))
}

#[derive(Serialize)]
struct Share<'a> {
    files: [Shared<'a>; 1],
    channel_id: &'a str,
    thread_ts: &'a str,
}

#[derive(Serialize)]
struct Shared<'a> {
    id: &'a str,
    title: &'a str,
}

/// The request that shows a file as a reply to the message of an answer.
///
/// # Errors
/// `Invalid` if the answer names no message, `Unavailable` if a secret cannot be read.
pub fn share(config: &Slack, uploading: &Uploading, file: &File, answer: &str) -> Result<Request> {
    let place: Option<Place> = serde_json::from_str(answer).ok();
    let place = place.ok_or_else(|| Error::invalid("Slack did not say where the message is"))?;
    let url =
        method(config, "files.completeUploadExternal")?.ok_or_else(|| Error::invalid("that is no bot's address"))?;
    let files = [Shared { id: &uploading.file_id, title: &file.name }];
    let share = Share { files, channel_id: &place.channel, thread_ts: &place.ts };
    post_json(url, json(&share)?, config.http_config.as_ref(), Some(config.timeout))
}

/// What it means for the file what Slack says to a [`share`].
#[must_use]
pub fn shared(answer: &Answer) -> Verdict {
    of(delivered(answer).verdict, "the file was not shown").verdict
}

/// The address of a method of Slack's API; none unless a bot's token is there for it.
fn method(config: &Slack, name: &str) -> Result<Option<String>> {
    let has_token = config.http_config.as_ref().is_some_and(|http| http.authorization.is_some());
    let Some(url) = config.api_url.as_ref().filter(|_| has_token) else { return Ok(None) };
    Ok(url.read()?.strip_suffix(POST_MESSAGE).map(|base| format!("{base}{name}")))
}

fn of(verdict: Verdict, what: &str) -> Delivered {
    let told = |why: String| format!("{what}: {why}");
    let verdict = match verdict {
        Verdict::Sent => Verdict::Sent,
        Verdict::Failed(why) => Verdict::Failed(told(why)),
        Verdict::Limited(after_ms, why) => Verdict::Limited(after_ms, told(why)),
        Verdict::Refused(why) => Verdict::Refused(told(why)),
    };
    Delivered { verdict, answer: String::new() }
}

#[cfg(test)]
mod tests;
