//! A running Prometheus, or whatever else speaks remote read, as a source.
//!
//! Called by the command. Asks for slices of two hours, oldest first; a part is a slice. A slice that breaks off is asked for again as a
//! whole: sending something twice is harmless. Not here: the messages (`ingest::remote_read`).

use std::{io::Read, ops::Range, thread, time::Duration};

use anyhow::{Context, Result, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ingest::{
    remote_read::{self, STREAMED, unframe},
    remote_write::DecodeError,
};
use ureq::{Body, http::Response};

use super::{
    Choice,
    encode::Series,
    sink::Sink,
    times::{common, length, show, slices},
};
use crate::client;

/// Samples of so long are asked for at once: what a Prometheus has in one block.
const SLICE_MS: i64 = 7_200_000;
/// Longest time for the answer to a slice.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(600);
/// Largest answer in one message; servers limit it to some 50 million samples of their own accord.
const ANSWER_BYTES_MAX: u64 = 1 << 30;
/// Longest answer in frames that is believed.
const STREAM_BYTES_MAX: u64 = 1 << 40;
/// Pauses between attempts.
const PAUSES_S: [u64; 7] = [1, 2, 5, 10, 30, 60, 60];
/// The metric in which a Prometheus says of when its oldest sample is.
const OLDEST: &str = "prometheus_tsdb_lowest_timestamp_seconds";

/// A server that is asked.
#[derive(Clone, Debug)]
pub(super) struct Remote {
    agent: ureq::Agent,
    url: String,
    authorization: Option<String>,
}

/// Why a slice was not read.
enum Failure {
    /// It may be read the next time.
    Again(anyhow::Error),
    /// It will not be.
    End(anyhow::Error),
}

impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::Again(anyhow!(error).context("the answer is damaged"))
    }
}

/// The address without who asks, and who asks.
pub(super) fn split_user(url: &str) -> (String, Option<String>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let host = rest.split(['/', '?']).next().unwrap_or_default();
    match host.rsplit_once('@') {
        Some((user, _)) => {
            (format!("{scheme}://{}", rest.get(user.len() + 1..).unwrap_or_default()), Some(user.to_owned()))
        }
        None => (url.to_owned(), None),
    }
}

impl Remote {
    pub(super) fn new(agent: ureq::Agent, url: &str, token: Option<String>) -> Self {
        let (url, user) = split_user(url);
        let basic = user.map(|user| format!("Basic {}", STANDARD.encode(percent_decoded(&user))));
        let authorization = token.map(|token| format!("Bearer {token}")).or(basic);
        let url = url.trim_end_matches('/').trim_end_matches("/api/v1/read").to_owned();
        Self { agent, url, authorization }
    }

    /// Hands everything that was chosen to the sink.
    ///
    /// # Errors
    /// If the server does not answer; those of the sink.
    pub(super) fn run(&self, choice: &Choice, now_ms: i64, sink: &mut Sink) -> Result<()> {
        let mut times_ms = common(&choice.times_ms, &(0..now_ms));
        if choice.times_ms.start == i64::MIN {
            times_ms.start = self.oldest_ms()?;
        }
        let total = length(&times_ms);
        for slice in slices(times_ms.clone(), SLICE_MS) {
            sink.progress.of(format!("{} to {}", show(slice.start), show(slice.end)));
            let done = length(&(times_ms.start..slice.end)) / total;
            if sink.begin(&format!("{}/{}", slice.start, slice.end)).is_none() {
                sink.progress.at(done, true);
                continue;
            }
            for matchers in choice.matchers() {
                let request = remote_read::request(&matchers, slice.start, slice.end - 1);
                self.slice(&request, &slice, sink)?;
            }
            sink.end();
            sink.progress.at(done, false);
        }
        Ok(())
    }

    /// Of when the oldest sample is.
    fn oldest_ms(&self) -> Result<i64> {
        let hint = || format!("{} does not say of when its oldest samples are: say --start", self.url);
        let mut request = self.agent.get(format!("{}/metrics", self.url));
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization);
        }
        let text = request.call().ok().filter(|response| response.status().is_success());
        let text = text.and_then(|response| response.into_body().read_to_string().ok()).with_context(hint)?;
        let value = text.lines().find_map(|line| line.strip_prefix(OLDEST)?.trim().parse::<f64>().ok());
        // Without a block it is that of the head, or the largest number there is.
        let seconds = value.filter(|seconds| (0.0..1e11).contains(seconds)).with_context(hint)?;
        #[allow(clippy::cast_possible_truncation, reason = "in range")]
        Ok(seconds.floor() as i64 * 1000)
    }

    fn slice(&self, request: &[u8], times_ms: &Range<i64>, sink: &mut Sink) -> Result<()> {
        let mut pauses = PAUSES_S.iter();
        loop {
            match self.attempt(request, times_ms, sink) {
                Ok(()) => return Ok(()),
                Err(Failure::End(error)) => return Err(error),
                Err(Failure::Again(error)) => {
                    let Some(pause_s) = pauses.next() else { return Err(error) };
                    sink.progress.note(format_args!("{error:#}; asked again in {pause_s} s"));
                    thread::sleep(Duration::from_secs(*pause_s));
                }
            }
        }
    }

    fn attempt(&self, request: &[u8], times_ms: &Range<i64>, sink: &mut Sink) -> Result<(), Failure> {
        let body = snap::raw::Encoder::new().compress_vec(request).map_err(|error| Failure::End(anyhow!(error)))?;
        let mut post = self
            .agent
            .post(format!("{}/api/v1/read", self.url))
            .header("Content-Type", "application/x-protobuf")
            .header("Content-Encoding", "snappy")
            .header("X-Prometheus-Remote-Read-Version", "0.1.0");
        if let Some(authorization) = &self.authorization {
            post = post.header("Authorization", authorization);
        }
        let sent = post.config().timeout_global(Some(ANSWER_TIME_MAX)).build().send(&body[..]);
        let lost = |error: ureq::Error| Failure::Again(anyhow!("no answer from {}: {error}", self.url));
        let response = sent.map_err(lost)?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let refused = client::refused(status, response.into_body().into_reader());
            let refused = refused.context(format!("{} does not answer remote read", self.url));
            return Err(if status == 429 || status >= 500 { Failure::Again(refused) } else { Failure::End(refused) });
        }
        let is_streamed =
            response.headers().get("Content-Type").is_some_and(|kind| kind.as_bytes().starts_with(STREAMED.as_bytes()));
        if is_streamed { frames(response, times_ms, sink) } else { message(response, times_ms, sink) }
    }
}

/// Reads an answer in frames, a frame at a time.
fn frames(response: Response<Body>, times_ms: &Range<i64>, sink: &mut Sink) -> Result<(), Failure> {
    let mut body = response.into_body().into_with_config().limit(STREAM_BYTES_MAX).reader();
    let (mut buffer, mut part) = (Vec::new(), vec![0; 256 << 10]);
    let mut from = 0;
    loop {
        let frame =
            unframe(buffer.get(from..).unwrap_or_default()).map_err(|broken| Failure::Again(anyhow!(broken)))?;
        if let Some((frame, bytes)) = frame {
            remote_read::frame(frame, |series| hand_over(series, times_ms, sink))?;
            from += bytes;
            continue;
        }
        buffer.drain(..std::mem::take(&mut from));
        let read =
            body.read(&mut part).map_err(|error| Failure::Again(anyhow!(error).context("the answer broke off")))?;
        match part.get(..read) {
            Some(more) if read > 0 => buffer.extend_from_slice(more),
            _ if buffer.is_empty() => return Ok(()),
            _ => return Err(Failure::Again(anyhow!("the answer broke off inside a frame"))),
        }
    }
}

/// Reads an answer in one message.
fn message(response: Response<Body>, times_ms: &Range<i64>, sink: &mut Sink) -> Result<(), Failure> {
    let read = response.into_body().into_with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    let body = read.map_err(|error| Failure::Again(anyhow!(error).context("the answer broke off")))?;
    let bytes = snap::raw::decompress_len(&body)
        .map_err(|error| Failure::End(anyhow!(error).context("no answer to remote read")))?;
    if u64::try_from(bytes).unwrap_or(u64::MAX) > ANSWER_BYTES_MAX {
        return Err(Failure::End(anyhow!("the answer is too large: select less with --match bytes={bytes}")));
    }
    let body = snap::raw::Decoder::new().decompress_vec(&body);
    let body = body.map_err(|error| Failure::Again(anyhow!(error).context("the answer is damaged")))?;
    remote_read::samples(&body, |series| hand_over(series, times_ms, sink))
}

fn hand_over(mut series: remote_read::Series<'_>, times_ms: &Range<i64>, sink: &mut Sink) -> Result<(), Failure> {
    for broken in &series.broken {
        sink.damaged(format_args!("{broken} series={:?}", series.labels));
    }
    // Chunks come whole, also where the range ends inside.
    series.samples.retain(|ts_ms| times_ms.contains(&ts_ms));
    let series = Series { labels: &series.labels, samples: &series.samples, exemplars: &[], about: None };
    sink.series(&series).map_err(Failure::End)
}

/// `%41` is `A`.
fn percent_decoded(text: &str) -> Vec<u8> {
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        plain.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    plain
}

/// Is this an address?
pub(super) fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// Refuses what is an address of another kind.
///
/// # Errors
/// If it is.
pub(super) fn check_scheme(source: &str) -> Result<()> {
    if source.contains("://") && !is_url(source) {
        bail!("{source} is no address of a Prometheus: it begins with http:// or https://");
    }
    Ok(())
}
