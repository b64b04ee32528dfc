//! Mail: a notification as text and HTML, with what a mail server needs to take it.
//!
//! Called by the facade. Invariants: no header has a line that came with an alert; a mail that is sent twice has one id. Not here: SMTP.
//! Spec: RFC 5322, 2045 to 2047, Alertmanager's `email_config`.

mod mime;

use chrono::{DateTime, Utc};

use super::{
    Answer, Extra, Notification, Render,
    digest::sha256_hex,
    expand, expand_html,
    report::{File, Report},
    text::{for_html, one_line, truncated},
};
use crate::{
    Error, Result,
    alertmanager::Delivered,
    config::{
        built::Email,
        http::TlsConfig,
        values::{HostPort, Secret},
    },
    outbox::Verdict,
};

const SUBJECT: &str = r#"{{ template "email.default.subject" . }}"#;
/// Characters of a header: lines of mail have at most 998 bytes, and these are folded.
const HEADER_CHARS_MAX: usize = 2_000;
/// Characters of a summary.
const SUMMARY_CHARS_MAX: usize = 50_000;

/// A mail, and how it is sent.
#[derive(Clone, PartialEq)]
pub struct Mail {
    /// Address of the sender, for the envelope.
    pub from: String,
    /// Addresses of the recipients, for the envelope.
    pub to: Vec<String>,
    /// Headers as they are written, but for those of MIME.
    pub headers: Vec<(String, String)>,
    /// The text, if there is one.
    pub text: Option<String>,
    /// The text as HTML, if there is one.
    pub html: Option<String>,
    /// What we call ourselves to the server.
    pub hello: String,
    /// The mail server.
    pub smarthost: HostPort,
    /// Who we are to the server, if it is told.
    pub auth: Option<MailAuth>,
    /// How the connection is secured.
    pub tls: MailTls,
    /// What comes with it.
    pub file: Option<File>,
    /// Separates the parts.
    boundary: String,
}

/// Who we are to a mail server, which says what it wants of it.
#[derive(Clone, PartialEq, Eq)]
pub struct MailAuth {
    /// For all ways.
    pub username: String,
    /// For `PLAIN` and `LOGIN`.
    pub password: Option<String>,
    /// For `CRAM-MD5`.
    pub secret: Option<String>,
    /// In whose name, for `PLAIN`.
    pub identity: String,
}

/// How a connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// From its first byte.
    Implicit,
    /// Before anything is said; a server that cannot is told nothing.
    StartTls,
    /// Not at all.
    None,
}

impl std::fmt::Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("smarthost", &self.smarthost).field("to", &self.to.len()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for MailAuth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MailAuth").finish_non_exhaustive()
    }
}

/// The mail that tells a notification.
///
/// # Errors
/// `Invalid` if a template cannot be rendered or an address is none, `Unavailable` if a secret cannot be read.
pub fn mail(config: &Email, notification: &Notification, render: &dyn Render, extra: &Extra) -> Result<Mail> {
    let text = expand(render, notification);
    let smarthost = config.address().cloned().ok_or_else(|| Error::invalid("there is no `smarthost`"))?;
    let (from, to) = (mime::addresses(&text(&config.from)?)?, mime::addresses(&text(&config.to)?)?);
    let [(_, sender)] = &*from else { return Err(Error::invalid("`from` must be one address")) };
    let (is_summary, report) = (!notification.summary.is_empty(), notification.report.as_deref());
    let lines = || notification.summary_lines(SUMMARY_CHARS_MAX);
    let part = |template: &str, rendered: &dyn Fn(&str) -> Result<String>| {
        if template.is_empty() { Ok(None) } else { rendered(template).map(Some) }
    };
    Ok(Mail {
        from: sender.clone(),
        to: to.into_iter().map(|(_, address)| address).collect(),
        headers: headers(config, notification, &text, extra)?,
        text: match report {
            Some(report) => Some(answer(report)),
            None if is_summary => Some(lines()),
            None => part(&config.text, &text)?,
        },
        html: match report {
            Some(report) => Some(answer_html(report)),
            None if is_summary => None,
            None => part(&config.html, &expand_html(render, notification))?,
        },
        file: report.and_then(|report| report.file.clone()),
        hello: config.hello.clone(),
        auth: auth(config)?,
        tls: tls(config, &smarthost),
        smarthost,
        boundary: format!("{:032x}", extra.id),
    })
}

/// An answer as text.
fn answer(report: &Report) -> String {
    let (table, shown) = report.table(SUMMARY_CHARS_MAX, str::to_owned);
    let table = if report.failure.is_some() { String::new() } else { format!("{table}\n\n") };
    format!("{}\n\n{table}{}\n{}\n", report.headline(), report.words(shown), report.link)
}

/// An answer as HTML: a table stands in columns whatever the letters of the reader are.
fn answer_html(report: &Report) -> String {
    let (table, shown) = report.table(SUMMARY_CHARS_MAX, for_html);
    let [headline, words, link] =
        [report.headline(), report.words(shown), report.link.clone()].map(|text| for_html(&text));
    let table = if report.failure.is_some() { String::new() } else { format!("<pre>{table}</pre>\n") };
    format!("<p>{headline}</p>\n{table}<p>{words} <a href=\"{link}\">Ask again</a></p>\n")
}

/// What is trusted, and whom we show ourselves to be, at the mail server.
#[must_use]
pub fn tls_config(config: &Email) -> Option<&TlsConfig> {
    config.tls_config.as_ref()
}

fn tls(config: &Email, smarthost: &HostPort) -> MailTls {
    match (config.force_implicit_tls, config.require_tls) {
        (Some(true), _) => MailTls::Implicit,
        (None, _) if smarthost.port == "465" => MailTls::Implicit,
        (_, Some(false)) => MailTls::None,
        _ => MailTls::StartTls,
    }
}

fn auth(config: &Email) -> Result<Option<MailAuth>> {
    if config.auth_username.is_empty() {
        return Ok(None);
    }
    Ok(Some(MailAuth {
        username: config.auth_username.clone(),
        password: config.auth_password.as_ref().map(Secret::read).transpose()?,
        secret: config.auth_secret.as_ref().map(Secret::read).transpose()?,
        identity: config.auth_identity.clone(),
    }))
}

fn headers(
    config: &Email,
    notification: &Notification,
    text: &dyn Fn(&str) -> Result<String>,
    extra: &Extra,
) -> Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    let mut push = |name: &str, value: &str| {
        let value = truncated(one_line(value).trim(), HEADER_CHARS_MAX);
        headers.push((name.to_owned(), mime::header(name, &value)));
    };
    for (name, template) in [("Subject", SUBJECT), ("From", &config.from), ("To", &config.to)] {
        let template = config.headers.get(name).map_or(template, String::as_str);
        match (name, notification.summary.is_empty()) {
            ("Subject", false) => push(name, &notification.summary_title()),
            ("Subject", true) => {
                let title = notification.report.as_ref().map(|report| Ok(report.headline()));
                push(name, &notification.titled(&title.unwrap_or_else(|| text(template))?));
            }
            _ => push(name, &text(template)?),
        }
    }
    for (name, template) in &config.headers {
        if !["Subject", "From", "To"].contains(&name.as_str()) {
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') {
                return Err(Error::invalid(format!("`{}` is no name of a header", one_line(name))));
            }
            push(name, &text(template)?);
        }
    }
    let now: DateTime<Utc> = DateTime::from_timestamp_millis(notification.now_ms).unwrap_or_default();
    if !config.headers.contains_key("Message-Id") {
        push("Message-Id", &format!("<{:032x}@{}>", extra.id, host_of(extra)));
    }
    if config.threading.enabled && notification.summary.is_empty() && notification.report.is_none() {
        // A mail that was never sent: programs gather under it what refers to it.
        let date = match config.threading.thread_by_date.as_str() {
            "none" => String::new(),
            _ => now.format("%Y-%m-%d").to_string(),
        };
        let root = format!("<alert-{}-{date}@alertmanager>", &sha256_hex(&*notification.group_key)[..16]);
        push("References", &root);
        push("In-Reply-To", &root);
    }
    push("Date", &now.format("%a, %d %b %Y %H:%M:%S +0000").to_string());
    Ok(headers)
}

/// Our name, as far as it can stand in an id.
fn host_of(extra: &Extra) -> &str {
    let is_name = |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    Some(&*extra.hostname).filter(|host| !host.is_empty()).filter(is_name).unwrap_or("localhost.localdomain")
}

/// What a mail server's answer means: its code stands where a status would.
#[must_use]
pub fn delivered(answer: &Answer) -> Delivered {
    let why = format!("mail server answered {}: {}", answer.status, answer.text());
    let verdict = match answer.status {
        200..400 => Verdict::Sent,
        // It cannot now.
        400..500 => Verdict::Failed(why),
        // Those of authentication pass when the server's own directory is back, or a password is changed.
        530 | 534 | 535 | 538 => Verdict::Failed(why),
        _ => Verdict::Refused(why),
    };
    Delivered { verdict, answer: String::new() }
}

#[cfg(test)]
mod tests;
