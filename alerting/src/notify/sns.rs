//! AWS SNS: a message to a topic, an endpoint or a phone.
//!
//! Called by the facade. Invariants: a message is within what SNS takes; a subject is one line of ASCII. Not here: how credentials are
//! found that the configuration does not have. Whoever carries the request sends the host of its URL as `Host`: it is signed. Spec: <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>

use form_urlencoded::Serializer;

use super::{
    Answer, Extra, Notification, Render, Request,
    borrowed::sts,
    digest::sha256_hex,
    expand,
    http::{LIMITED_MS, headers_of, judged, tagged},
    sigv4::{Credentials, post},
    text::{one_line, truncated, truncated_bytes},
};
use crate::{Error, ErrorKind, Result, alertmanager::Delivered, config::built::Sns, outbox::Verdict};

const MESSAGE_BYTES_MAX: usize = 256 << 10;
const SMS_BYTES_MAX: usize = 1_600;
/// It has to be shorter than 100.
const SUBJECT_CHARS_MAX: usize = 99;

/// The request that tells a notification.
///
/// # Errors
/// `Invalid` if a template cannot be rendered or there is no region, `Unavailable` if a secret or credentials are missing.
pub fn request(config: &Sns, notification: &Notification, render: &dyn Render, extra: &Extra) -> Result<Request> {
    let text = expand(render, notification);
    let (topic, target) = (text(&config.topic_arn)?, text(&config.target_arn)?);
    let phone = text(&config.phone_number)?;
    let bytes_max = if topic.is_empty() && target.is_empty() { SMS_BYTES_MAX } else { MESSAGE_BYTES_MAX };
    let whole = text(&config.message)?;
    let message = truncated_bytes(&whole, bytes_max);
    let mut form = Serializer::new(String::new());
    form.append_pair("Action", "Publish").append_pair("Version", "2010-03-31");
    // Of several the first is used, as upstream does.
    match (topic.is_empty(), phone.is_empty(), target.is_empty()) {
        (false, ..) => form.append_pair("TopicArn", &topic),
        (_, false, _) => form.append_pair("PhoneNumber", &phone),
        (_, _, false) => form.append_pair("TargetArn", &target),
        _ => return Err(Error::invalid("topic, phone number and target are empty once their templates are rendered")),
    };
    let subject = subject(&notification.titled(&text(&config.subject)?));
    if !subject.is_empty() {
        form.append_pair("Subject", &subject);
    }
    form.append_pair("Message", &message);
    if topic.ends_with(".fifo") {
        // The same again within minutes is dropped, something else about the group is not.
        form.append_pair("MessageGroupId", &sha256_hex(&*notification.group_key));
        form.append_pair("MessageDeduplicationId", &sha256_hex(format!("{}\n{whole}", notification.group_key)));
    }
    let mut attributes = Vec::new();
    for (name, value) in &config.attributes {
        attributes.push((text(name)?, text(value)?));
    }
    if message != whole {
        attributes.push(("truncated".to_owned(), "true".to_owned()));
    }
    // SNS takes no attribute that is empty.
    for (at, (name, value)) in attributes.iter().filter(|(_, value)| !value.is_empty()).enumerate() {
        let key = format!("MessageAttributes.entry.{}", at + 1);
        form.append_pair(&format!("{key}.Name"), name);
        form.append_pair(&format!("{key}.Value.DataType"), "String");
        form.append_pair(&format!("{key}.Value.StringValue"), value);
    }
    let body = form.finish().into_bytes();
    let region = region(config, &[&topic, &target])?;
    let url = match text(&config.api_url)? {
        url if url.is_empty() => format!("https://sns.{region}.amazonaws.com/"),
        url => url,
    };
    let credentials = match config.sigv4.role_arn.is_empty() {
        true => credentials(config, extra.aws.as_ref())?,
        false => extra.aws.clone().ok_or_else(missing)?,
    };
    let mut request = post((url, &region, "sns"), body, (&credentials, notification.now_ms))?;
    // A signature stands where other credentials would.
    let others = headers_of(config.http_config.as_ref())?;
    request.headers.extend(others.into_iter().filter(|(name, _)| name != "Authorization"));
    Ok(request)
}

/// The request for credentials of the role that tells, if one is to be assumed; `aws` is who signs if the configuration does not say.
///
/// # Errors
/// `Invalid` if there is no region, `Unavailable` if a secret or credentials are missing.
pub fn role_request(config: &Sns, aws: Option<&Credentials>, now_ms: i64) -> Result<Option<Request>> {
    if config.sigv4.role_arn.is_empty() {
        return Ok(None);
    }
    let region = region(config, &[&config.topic_arn, &config.target_arn])?;
    sts::request(&config.sigv4, &region, &credentials(config, aws)?, now_ms).map(Some)
}

/// The configured region, or that of the topic or target.
fn region(config: &Sns, arns: &[&str]) -> Result<String> {
    let of_arn = |arn: &&str| arn.split(':').nth(3).filter(|region| !region.is_empty()).map(str::to_owned);
    let configured = Some(config.sigv4.region.clone()).filter(|region| !region.is_empty());
    let region = configured.or_else(|| arns.iter().find_map(of_arn));
    region.ok_or_else(|| Error::invalid("there is no region: set `sigv4.region`"))
}

fn credentials(config: &Sns, aws: Option<&Credentials>) -> Result<Credentials> {
    match &config.sigv4.secret_key {
        Some(secret) => Ok(Credentials {
            access_key: config.sigv4.access_key.clone(),
            secret_key: secret.read()?,
            session_token: String::new(),
        }),
        None => aws.cloned().ok_or_else(missing),
    }
}

fn missing() -> Error {
    Error::new(ErrorKind::Unavailable, "there are no credentials of AWS: set `access_key` and `secret_key`")
}

/// One line of ASCII.
fn subject(text: &str) -> String {
    let ascii: String = one_line(text.trim()).chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    truncated(&ascii, SUBJECT_CHARS_MAX).replace('…', "~")
}

/// What an answer means.
#[must_use]
pub fn delivered(answer: &Answer) -> Delivered {
    let body = String::from_utf8_lossy(&answer.body);
    let between = |tag: &str| tagged(&body, tag).map(|text| truncated(text, 300));
    let code = between("Code").unwrap_or_default();
    let why = |answer: &Answer| match between("Message") {
        Some(message) if !code.is_empty() => format!("{code}: {message}"),
        _ => answer.text(),
    };
    let verdict = match (judged(answer, why), code.as_str()) {
        (Verdict::Refused(why), "Throttling" | "ThrottlingException" | "Throttled") => {
            Verdict::Limited(answer.retry_after_ms.unwrap_or(LIMITED_MS), why)
        }
        // Other credentials, or a clock that was set, help.
        (Verdict::Refused(why), "ExpiredToken" | "ExpiredTokenException" | "RequestExpired") => Verdict::Failed(why),
        (verdict, _) => verdict,
    };
    Delivered { verdict, answer: String::new() }
}

#[cfg(test)]
mod tests;
