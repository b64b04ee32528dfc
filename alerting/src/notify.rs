//! Notifiers: what is asked of whom so that somebody is told, and what an answer means.
//!
//! Called by whoever sends for the outbox: [`Notification::of`] an attempt, [`message`] of it, and [`delivered`] of the answer. A notifier is
//! two pure functions, one that makes a [`Request`] (or a [`Mail`]) of a notification, and one that makes a
//! [`Verdict`] of the [`Answer`]; how a request travels is not here, nor how templates are rendered ([`Render`]).
//! Invariants: what a request says is within the receiver's limits; text of labels and annotations is escaped for where it stands, before
//! a template runs, so that it is never taken for the template's own markup; no secret is in an error or a verdict.

pub mod borrowed;
mod digest;
pub mod discord;
pub mod email;
pub mod guard;
pub(crate) mod http;
pub mod msteamsv2;
mod notification;
pub mod pagerduty;
mod place;
pub mod report;
mod sigv4;
pub mod slack;
pub mod sns;
mod text;
pub mod webhook;

use std::time::Duration;

use crate::{
    Error, ErrorKind, Result,
    alertmanager::Delivered,
    config::{receiver::Integration, values::Secret},
    dedup::Reason,
    outbox::Verdict,
};

pub use email::Mail;
pub(crate) use notification::common;
pub use notification::{Named, Notification, Shown};
pub use place::{destination, http_config, rate, unspoken};
pub use report::Report;
pub use sigv4::Credentials;

/// Bytes of an answer that are read; they say why something was refused.
pub const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A request that tells somebody.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// `POST`, mostly.
    pub method: &'static str,
    /// Where to. It may have a secret in it.
    pub url: String,
    /// Headers, beside those that travelling needs. They may have secrets in them.
    pub headers: Vec<(String, String)>,
    /// What is said.
    pub body: Vec<u8>,
    /// How long it may take.
    pub timeout: Duration,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status of HTTP.
    pub status: u16,
    /// After what time to ask again, milliseconds, if it says so.
    pub retry_after_ms: Option<i64>,
    /// The first bytes of the body.
    pub body: Vec<u8>,
}

/// Expands templates of the configuration.
pub trait Render {
    /// Expands a template whose output is text.
    ///
    /// # Errors
    /// `Invalid` if it cannot be expanded.
    fn text(&self, template: &str, data: &Notification) -> Result<String>;

    /// Expands a template whose output is HTML, in which what comes from data is escaped.
    ///
    /// # Errors
    /// `Invalid` if it cannot be expanded.
    fn html(&self, template: &str, data: &Notification) -> Result<String>;
}

/// What some messages need beside a notification.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// Names the message, the same when it is sent again: the id of what is owed.
    pub id: u128,
    /// Name of this machine.
    pub hostname: String,
    /// Who signs requests to AWS, if the configuration does not say, or says that a role is assumed: then it is that role.
    pub aws: Option<Credentials>,
}

/// What is kept of an answer when a group has ended: what it had said before is nothing to go on with.
const FORGOTTEN: &str = "{}";

/// What is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Outgoing {
    /// Over HTTP.
    Http(Request),
    /// By a mail server.
    Mail(Box<Mail>),
}

/// What tells a notification; none if there is nothing to tell, because all of it ended, and the integration is not told of ends: it is
/// [`delivered_nothing`] then.
///
/// # Errors
/// `Invalid` if it will never work (a template, an address), `Unavailable` if it may (a secret that cannot be read). [`not_sent`] says
/// what that means.
pub fn message(
    integration: Integration<'_>,
    notification: &Notification,
    render: &dyn Render,
    extra: &Extra,
) -> Result<Option<Outgoing>> {
    let mut told = notification.clone();
    // What is owed as firing and ended before it could be told is told, with both times, whoever asks for ends or not.
    if !integration.send_resolved() && !told.is_digest {
        let Notification { untold, now_ms, .. } = notification;
        told.alerts.retain(|alert| !alert.is_resolved(*now_ms) || untold.contains(&alert.fingerprint));
        told.summary.retain(|named| named.is_firing() || named.late > 0);
        told.summary.iter_mut().for_each(|named| named.resolved = named.late);
    }
    if let Some(report) = &notification.report {
        return answer(integration, (notification, report), render, extra).map(Some);
    }
    if told.reason.is_remark() && told.summary.is_empty() {
        return match integration {
            Integration::Slack(config) => Ok(slack::remark(config, &told)?.map(Outgoing::Http)),
            Integration::PagerDuty(config) if told.reason == Reason::Silenced => {
                Ok(Some(Outgoing::Http(pagerduty::step(config, "acknowledge", &told, render)?)))
            }
            _ => Ok(None),
        };
    }
    if told.alerts.is_empty() && told.summary.is_empty() {
        return Ok(None);
    }
    if matches!(integration, Integration::PagerDuty(config) if config.change_events == Some(true) && !pagerduty::is_change(&told))
    {
        return Ok(None);
    }
    let request = match integration {
        Integration::Slack(config) => slack::request(config, &told, render)?,
        Integration::PagerDuty(config) => pagerduty::request(config, &told, render)?,
        Integration::Webhook(config) => webhook::request(config, &told, render)?,
        Integration::MsTeamsFlow(config) => msteamsv2::request(config, &told, render)?,
        Integration::Discord(config) => discord::request(config, &told, render)?,
        Integration::Sns(config) => sns::request(config, &told, render, extra)?,
        Integration::Email(config) => {
            return Ok(Some(Outgoing::Mail(Box::new(email::mail(config, &told, render, extra)?))));
        }
        other => return Err(Error::invalid(format!("`{}` is not built", other.kind()))),
    };
    Ok(Some(Outgoing::Http(request)))
}

/// The message that tells the answer to a question.
fn answer(
    integration: Integration<'_>,
    (notification, report): (&Notification, &Report),
    render: &dyn Render,
    extra: &Extra,
) -> Result<Outgoing> {
    match integration {
        Integration::Slack(config) => slack::answer(config, (notification, report), render).map(Outgoing::Http),
        Integration::Email(config) => Ok(Outgoing::Mail(Box::new(email::mail(config, notification, render, extra)?))),
        other => Err(Error::invalid(format!("nobody reads the answer to a question by `{}`", other.kind()))),
    }
}

/// What is sent before a message, if something is: an incident that is acknowledged calls nobody, however often it is triggered; so what
/// was acknowledged because it was silenced ends, and begins anew.
///
/// # Errors
/// As of [`message`].
pub fn before(integration: Integration<'_>, told: &Notification, render: &dyn Render) -> Result<Option<Request>> {
    match integration {
        Integration::PagerDuty(config) if told.reason == Reason::Unsilenced && told.is_firing() => {
            pagerduty::step(config, "resolve", told, render).map(Some)
        }
        _ => Ok(None),
    }
}

/// Is an integration told when all that it knows as firing is silenced?
#[must_use]
pub fn hears_of_silence(integration: Integration<'_>) -> bool {
    matches!(integration, Integration::PagerDuty(config) if config.acknowledge_silenced == Some(true))
}

/// What an answer to a notification means, and what the next message needs of it. Of mail the code of the server stands where a status
/// would.
#[must_use]
pub fn delivered(integration: Integration<'_>, notification: &Notification, answer: &Answer) -> Delivered {
    // Servers like to quote what they were asked. Secrets go before anything is cut, or half of one would stay.
    let body = place::without_secrets(integration, &String::from_utf8_lossy(&answer.body));
    let answer = &Answer { body: body.into_bytes(), ..answer.clone() };
    let Delivered { verdict, answer } = match integration {
        Integration::Slack(_) => slack::delivered(answer),
        Integration::PagerDuty(config) => pagerduty::delivered(config, answer),
        Integration::Webhook(_) => webhook::delivered(answer),
        Integration::MsTeamsFlow(_) => msteamsv2::delivered(answer),
        Integration::Discord(_) => discord::delivered(answer),
        Integration::Sns(_) => sns::delivered(answer),
        Integration::Email(_) => email::delivered(answer),
        other => not_sent(&Error::invalid(format!("`{}` is not built", other.kind()))),
    };
    let verdict = match verdict {
        Verdict::Sent => Verdict::Sent,
        Verdict::Failed(why) => Verdict::Failed(text::one_line(&why)),
        Verdict::Limited(after_ms, why) => Verdict::Limited(after_ms, text::one_line(&why)),
        Verdict::Refused(why) => Verdict::Refused(text::one_line(&why)),
    };
    let answer = match verdict {
        // A summary is the message of none of its groups.
        _ if !notification.summary.is_empty() => String::new(),
        Verdict::Sent if notification.report.is_none() && !notification.is_firing() => FORGOTTEN.to_owned(),
        _ => answer,
    };
    Delivered { verdict, answer }
}

/// What it means that there was nothing to tell.
#[must_use]
pub fn delivered_nothing(notification: &Notification) -> Delivered {
    let answer = if notification.is_firing() { "" } else { FORGOTTEN };
    Delivered { verdict: Verdict::Sent, answer: answer.to_owned() }
}

/// Has this message to be made once more without the answer before? What that answer named is not there any more.
#[must_use]
pub fn wants_new_message(integration: Integration<'_>, answer: &Answer) -> bool {
    matches!(integration, Integration::Slack(_)) && slack::wants_new_message(answer)
}

/// What it means that no message could be made.
#[must_use]
pub fn not_sent(error: &Error) -> Delivered {
    let why = error.to_string();
    let verdict = if error.kind == ErrorKind::Unavailable { Verdict::Failed(why) } else { Verdict::Refused(why) };
    Delivered { verdict, answer: String::new() }
}

/// Expands templates over a notification; what has none in it stays as it is.
fn expand<'a>(render: &'a dyn Render, data: &'a Notification) -> impl Fn(&str) -> Result<String> + 'a {
    move |template| if template.contains("{{") { render.text(template, data) } else { Ok(template.to_owned()) }
}

/// The same for HTML.
fn expand_html<'a>(render: &'a dyn Render, data: &'a Notification) -> impl Fn(&str) -> Result<String> + 'a {
    move |template| if template.contains("{{") { render.html(template, data) } else { Ok(template.to_owned()) }
}

/// A secret with templates in it. Whoever cannot expand it may quote it, so that nothing is said of why.
fn expand_secret(text: &dyn Fn(&str) -> Result<String>, secret: &Secret, what: &str) -> Result<String> {
    let expanded = text(&secret.read()?);
    let expanded = expanded.map_err(|error| Error::new(error.kind, format!("the template of the {what} is wrong")))?;
    Ok(expanded.trim().to_owned())
}

impl Answer {
    /// The body as text, its first characters.
    #[must_use]
    pub fn text(&self) -> String {
        const CHARACTERS_MAX: usize = 500;
        String::from_utf8_lossy(&self.body).trim().chars().take(CHARACTERS_MAX).collect()
    }

    /// Did it work?
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
