//! Turns the outcome of a request into its answer: status, text, Written headers.
//!
//! The Written headers count what a sender need not send again: what is kept, and what a rule set aside. A sender of 2.0 takes a
//! success of which nothing is written for one that was not understood, and the difference for samples that were lost.
//!
//! Invariants: every answer to a 2.0 request carries the three Written headers and none to a 1.0 request does (it confuses
//! their senders); text of the sender comes back escaped, as plain text that no browser takes for anything else.

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Response, StatusCode, header},
};

use super::{decoded::Version, report::Report};
use crate::{Error, ErrorKind};

const SAMPLES_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// How a request ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// All or a part of it is durable.
    Written(Box<Report>),
    /// Nothing of it was written.
    Failed(Failure),
}

/// Why nothing was written.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: StatusCode,
    pub(crate) text: String,
    /// When to try again, if that can help.
    pub(crate) retry_after_s: Option<u32>,
}

impl Failure {
    /// Not worth repeating. Also the answer to bodies that are too large: 413, the natural one, makes vmagent repeat for
    /// ever.
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text: text.into(), retry_after_s: None }
    }

    pub(crate) fn unsupported(text: String) -> Self {
        Self { status: StatusCode::UNSUPPORTED_MEDIA_TYPE, text, retry_after_s: None }
    }

    /// 503 rather than 429: by default Prometheus retries the former and drops what was answered with the latter.
    pub(crate) fn overloaded(text: impl Into<String>) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, text: text.into(), retry_after_s: Some(1) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, retry_after_s) = match error.kind {
            ErrorKind::Invalid => (StatusCode::BAD_REQUEST, None),
            ErrorKind::Overloaded => return Self::overloaded(error.to_string()),
            ErrorKind::Unavailable | ErrorKind::Fenced => (StatusCode::SERVICE_UNAVAILABLE, Some(5)),
            ErrorKind::Corrupt | ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, None),
        };
        Self { status, text: error.to_string(), retry_after_s }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let kind = match failure.status {
            status if status.is_client_error() => ErrorKind::Invalid,
            StatusCode::SERVICE_UNAVAILABLE => ErrorKind::Unavailable,
            _ => ErrorKind::Internal,
        };
        Self::new(kind, failure.text)
    }
}

impl From<storage::Error> for Failure {
    fn from(error: storage::Error) -> Self {
        Error::from(error).into()
    }
}

pub(crate) fn respond(version: Option<Version>, outcome: &Outcome) -> Response<Body> {
    let none = Report::default();
    let (status, text, retry_after_s, report): (_, _, _, &Report) = match outcome {
        Outcome::Written(report) => match (report.rejects.first(), &report.elected) {
            (Some(first), _) => (StatusCode::BAD_REQUEST, partial(report, first), None, report),
            (None, Some(elected)) => (StatusCode::ACCEPTED, elected.clone(), None, report),
            (None, None) => (StatusCode::NO_CONTENT, String::new(), None, report),
        },
        Outcome::Failed(failure) => (failure.status, failure.text.clone(), failure.retry_after_s, &none),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if version == Some(Version::V2) {
        let Report { dropped, replicated, .. } = report;
        let done = |written: u64, dropped: u64, replicated: u64| HeaderValue::from(written + dropped + replicated);
        headers.insert(SAMPLES_WRITTEN, done(report.samples_written, dropped.samples, replicated.samples));
        headers.insert(HISTOGRAMS_WRITTEN, done(report.histograms_written, dropped.histograms, replicated.histograms));
        headers.insert(EXEMPLARS_WRITTEN, done(report.exemplars_written, dropped.exemplars, replicated.exemplars));
    }
    if let Some(seconds) = retry_after_s {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if !text.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        *response.body_mut() = Body::from(text + "\n");
    }
    response
}

fn partial(report: &Report, first: &str) -> String {
    format!(
        "a part of the request was refused, the rest is written; first: {first} rejected={} samples_written={} \
         histograms_written={} exemplars_written={}",
        report.rejects.total(),
        report.samples_written,
        report.histograms_written,
        report.exemplars_written
    )
}
