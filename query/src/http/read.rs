//! `POST /api/v1/read`: remote read, as Prometheus has it, for servers that ask us for what they do not keep themselves.
//!
//! Called by [`router`](super::router). A request has some selectors with times; the answer is one message with all samples, or, if
//! the client takes that first, a stream of chunks, which is made as it goes out. Staleness markers are among the samples.
//!
//! Invariants: a request is bounded before it is decoded; samples are those of one cut for each query; a stream that fails after its
//! beginning is cut off and not ended.
//! Spec: <https://prometheus.io/docs/specs/prw/remote_read_api/>

mod bits;
mod chunks;
mod frames;
mod histograms;
mod request;
mod samples;
mod wire;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, State, rejection::BytesRejection},
    http::header,
    response::{IntoResponse, Response},
    routing::post,
};
use datafusion::execution::memory_pool::MemoryConsumer;
use futures::{FutureExt, stream};

use super::{cut_off, failure};
use crate::{Engine, Error, ErrorKind, Result, ahead, raw::Raw};

use frames::Frames;
use request::{Answer, DECODED_BYTES_MAX, Query, Request};
use samples::{SAMPLE_BYTES, put_result};

/// Routes of remote read.
pub(super) fn router() -> Router<Engine> {
    Router::new().route("/api/v1/read", post(read)).layer(DefaultBodyLimit::max(DECODED_BYTES_MAX))
}

async fn read(State(engine): State<Engine>, body: Result<Bytes, BytesRejection>) -> Response {
    let answer = async {
        let body = body.map_err(|error| Error::new(ErrorKind::Invalid, error.body_text()))?;
        let request = Request::read(&body)?;
        match request.answer {
            Answer::Samples => {
                let message = all_samples(&engine, request.queries).await?;
                let kinds = [(header::CONTENT_TYPE, "application/x-protobuf"), (header::CONTENT_ENCODING, "snappy")];
                Ok((kinds, message).into_response())
            }
            Answer::Chunks => streamed(engine, request.queries).await,
        }
    };
    answer.await.unwrap_or_else(|error: Error| failure(&error.at(None)))
}

/// The answers to all queries in one message, compressed.
async fn all_samples(engine: &Engine, queries: Vec<Query>) -> Result<Vec<u8>> {
    let texts = queries.iter().map(|query| query.text.as_str()).collect::<Vec<_>>().join("; ");
    engine
        .counted("remote read", &texts, async |run| {
            let permit = engine.admit().await?;
            let of_work = engine.clone();
            let work = async move {
                let memory = MemoryConsumer::new("remote read").register(of_work.memory_pool());
                let (mut message, mut samples) = (Vec::new(), 0);
                for query in queries {
                    let raw = of_work.raw(&[query.selector], query.times_ms).boxed().await?;
                    // Once for the message, once for what it is made of, and labels take about what they take as symbols.
                    memory.try_grow(2 * (raw.samples() * SAMPLE_BYTES + raw.symbols.bytes()))?;
                    samples += raw.samples();
                    put_result(&mut message, &raw);
                }
                let compressed = snap::raw::Encoder::new().compress_vec(&message);
                let compressed = compressed.map_err(|error| {
                    let what = "answer is too long for one message; ask for fewer series or less time";
                    Error::new(ErrorKind::Execution, format!("{what}: {error}"))
                })?;
                Ok((compressed, samples))
            };
            let (message, samples) = engine.within(work, permit, None).await?;
            run.add_samples(samples);
            Ok(message)
        })
        .await
}

/// Frames of all queries, one query after another.
async fn streamed(engine: Engine, queries: Vec<Query>) -> Result<Response> {
    let mut queries = (0..).zip(queries);
    // The first query decides the status.
    let first = match queries.next() {
        Some((index, query)) => Some(Frames::new(load(&engine, query).await?, index)),
        None => None,
    };
    let frames = stream::try_unfold((engine.clone(), queries, first), |(engine, mut queries, mut frames)| async move {
        loop {
            if let Some(frame) = frames.as_mut().map_or(Ok(None), Frames::next).map_err(cut_off)? {
                return Ok(Some((Bytes::from(frame), (engine, queries, frames))));
            }
            let Some((index, query)) = queries.next() else { return Ok::<_, std::io::Error>(None) };
            frames = Some(Frames::new(load(&engine, query).await.map_err(cut_off)?, index));
        }
    });
    let kind = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse";
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(ahead(&engine, frames))).into_response())
}

async fn load(engine: &Engine, query: Query) -> Result<Raw> {
    engine
        .counted("remote read", &query.text, async |run| {
            let permit = engine.admit().await?;
            let of_work = engine.clone();
            let work = async move { of_work.raw(&[query.selector], query.times_ms).await };
            let raw: Raw = engine.within(work, permit, None).await?;
            run.add_samples(raw.samples());
            Ok(raw)
        })
        .await
}

#[cfg(test)]
mod tests;
