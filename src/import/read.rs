//! A running Prometheus, or whatever else speaks remote read, as a source.
//!
//! Called by the command. Asks for slices of two hours, oldest first; a part is a slice. A slice that breaks off is asked for again as a
//! whole: sending something twice is harmless. What ends within the last hour is no part, since more of it may come. Not here: the
//! messages (`ingest::remote_read`).

use std::{io::Read, ops::Range, thread, time::Duration};

use anyhow::{Context, Result, anyhow};
use ingest::{
    protobuf::DecodeError,
    remote_read::{self, STREAMED, unframe},
};
use ureq::{Body, http::Response};

use super::{Choice, address::Address, encode::Series, sink::Sink};
use crate::{
    client,
    times::{common, length, show, slices},
};

/// Samples of so long are asked for at once: what a Prometheus has in one block.
const SLICE_MS: i64 = 7_200_000;
/// So long after its time a sample may still come: what a server takes in out of order, or late from where it asks. What ends later is
/// read each time.
const LATE_MS: i64 = 3_600_000;
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
    base: String,
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

impl Remote {
    pub(super) fn new(agent: ureq::Agent, address: &Address, token: Option<String>) -> Self {
        let authorization = token.map(|token| format!("Bearer {token}")).or_else(|| address.basic.clone());
        let base = address.base.trim_end_matches("/api/v1/read").to_owned();
        Self { agent, base, authorization }
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
            if slice.end > now_ms.saturating_sub(LATE_MS) {
                sink.begin_again();
            } else if sink.begin(&format!("{}/{}", slice.start, slice.end)).is_none() {
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
        let hint = || format!("{} does not say of when its oldest samples are: say --start", self.base);
        let mut request = self.agent.get(format!("{}/metrics", self.base));
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
            .post(format!("{}/api/v1/read", self.base))
            .header("Content-Type", "application/x-protobuf")
            .header("Content-Encoding", "snappy")
            .header("X-Prometheus-Remote-Read-Version", "0.1.0");
        if let Some(authorization) = &self.authorization {
            post = post.header("Authorization", authorization);
        }
        let sent = post.config().timeout_global(Some(ANSWER_TIME_MAX)).build().send(&body[..]);
        let lost = |error: ureq::Error| Failure::Again(anyhow!("no answer from {}: {error}", self.base));
        let response = sent.map_err(lost)?;
        let status = response.status().as_u16();
        if !response.status().is_success() {
            let refused = client::refused(status, response.into_body().into_reader());
            let refused = refused.context(format!("{} does not answer remote read", self.base));
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
