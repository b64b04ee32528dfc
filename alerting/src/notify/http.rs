//! Requests over HTTP as `http_config` wants them, and what statuses mean where a receiver does not say it better.
//!
//! Called by all notifiers but mail. Not here: TLS, proxies and OAuth, which need more than a request: whoever carries it reads them from
//! the configuration.

use std::time::Duration;

use base64::Engine;
use serde::Serialize;

use super::{Answer, Request};
use crate::{
    Error, ErrorKind, Result,
    config::{
        http::HttpConfig,
        values::{Secret, Timeout, Url},
    },
    outbox::Verdict,
};

/// How long a request may take if nothing is said: somebody else waits for the destination.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// When to ask again who limits without saying for how long.
pub(crate) const LIMITED_MS: i64 = 30_000;

/// A request with a body that is JSON.
pub(crate) fn post_json(
    url: String,
    body: Vec<u8>,
    http: Option<&HttpConfig>,
    timeout: Option<Timeout>,
) -> Result<Request> {
    Url::parse(&url).map_err(|reason| Error::invalid(format!("the address to post to is wrong: {reason}")))?;
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    headers.extend(headers_of(http)?);
    let timeout = timeout.map(|timeout| timeout.0).filter(|timeout| !timeout.is_zero()).unwrap_or(TIMEOUT);
    Ok(Request { method: "POST", url, headers, body, timeout })
}

/// JSON of something that we made.
pub(crate) fn json(body: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(body)
        .map_err(|error| Error::new(ErrorKind::Internal, "a message cannot be written as JSON").caused_by(error))
}

/// Headers that say who we are, and others that were configured.
pub(crate) fn headers_of(http: Option<&HttpConfig>) -> Result<Vec<(String, String)>> {
    let Some(http) = http else { return Ok(Vec::new()) };
    let mut headers = Vec::new();
    let read = |secret: Option<&Secret>| secret.map_or_else(|| Ok(String::new()), Secret::read);
    if let Some(auth) = &http.basic_auth {
        let user = match &auth.username_file {
            Some(file) => Secret::File(file.clone()).read()?,
            None => auth.username.clone(),
        };
        let both = format!("{user}:{}", read(auth.password.as_ref())?);
        let encoded = base64::engine::general_purpose::STANDARD.encode(both);
        headers.push(("Authorization".to_owned(), format!("Basic {encoded}")));
    }
    if let Some(auth) = &http.authorization {
        let value = format!("{} {}", auth.kind, read(auth.credentials.as_ref())?);
        headers.push(("Authorization".to_owned(), value.trim_end().to_owned()));
    }
    for (name, header) in &http.http_headers {
        let secrets = header.secrets.iter().cloned().chain(header.files.iter().cloned().map(Secret::File));
        let secrets = secrets.map(|secret| secret.read()).collect::<Result<Vec<_>>>()?;
        headers.extend(header.values.iter().cloned().chain(secrets).map(|value| (name.clone(), value)));
    }
    match headers.iter().find(|(_, value)| value.chars().any(char::is_control)) {
        Some((name, _)) => Err(Error::invalid(format!("the value of header `{name}` has a line break in it"))),
        None => Ok(headers),
    }
}

/// What a status means; `why` says of a refusal what the receiver says of it.
pub(super) fn judged(answer: &Answer, why: impl Fn(&Answer) -> String) -> Verdict {
    let reason = || {
        let why = why(answer);
        format!("status {}{}{why}", answer.status, if why.is_empty() { "" } else { ": " })
    };
    match answer.status {
        200..300 => Verdict::Sent,
        429 => Verdict::Limited(retry_after_ms(answer).unwrap_or(LIMITED_MS), reason()),
        500.. => Verdict::Failed(reason()),
        _ => Verdict::Refused(reason()),
    }
}

/// What is between the tags of a name in XML, without looking at what tags are in.
pub(super) fn tagged<'a>(body: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = body.split_once(&format!("<{tag}>"))?;
    rest.split_once(&format!("</{tag}>")).map(|(text, _)| text)
}

/// After what time to ask again: by the header, or as Slack and Discord say it in the body, in seconds.
pub(super) fn retry_after_ms(answer: &Answer) -> Option<i64> {
    let in_body = || {
        let body: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
        let seconds = body.get("retry_after")?.as_f64().filter(|seconds| (0.0..1e6).contains(seconds))?;
        #[expect(clippy::cast_possible_truncation, reason = "it is below a million seconds")]
        let ms = (seconds * 1_000.0).ceil() as i64;
        Some(ms)
    };
    answer.retry_after_ms.or_else(in_body)
}
