//! What a remote read asks for: `prometheus.ReadRequest`, compressed as a block of snappy.
//!
//! Called by the endpoint. Matchers become a selector as PromQL writes it, so that there is one way to read them.
//!
//! Invariant: what is decompressed is bounded before memory is taken for it.
//! Spec: <https://prometheus.io/docs/specs/prw/remote_read_api/>

use std::ops::Range;

use serde_json::Value;

use super::wire::{Field, Fields, broken, text};
use crate::{Error, ErrorKind, Result, Selector};

/// Bytes of a request when decompressed. A regular expression of a thousand names takes a fiftieth of it.
pub(super) const DECODED_BYTES_MAX: usize = 4 << 20;
/// Queries of one request. Prometheus sends one.
const QUERIES_MAX: usize = 100;

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub queries: Vec<Query>,
    pub answer: Answer,
}

/// How the answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// One message with all samples.
    Samples,
    /// A message for some chunks of a series, one after another.
    Chunks,
}

/// Samples of some series.
#[derive(Debug, PartialEq)]
pub(super) struct Query {
    /// The selector as it would be written.
    pub text: String,
    pub selector: Selector,
    /// Milliseconds, half-open.
    pub times_ms: Range<i64>,
}

impl Request {
    /// Reads a request as it was sent.
    pub(super) fn read(body: &[u8]) -> Result<Self> {
        let bad = |why: String| Error::new(ErrorKind::Invalid, why);
        let length = snap::raw::decompress_len(body).map_err(|error| bad(error.to_string()))?;
        if length > DECODED_BYTES_MAX {
            return Err(bad(format!("snappy: decoded length {length} exceeds limit {DECODED_BYTES_MAX}")));
        }
        let bytes = snap::raw::Decoder::new().decompress_vec(body).map_err(|error| bad(error.to_string()))?;
        Self::decode(&bytes)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut queries, mut accepted) = (Vec::new(), Vec::new());
        let mut fields = Fields(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Bytes(_)) if queries.len() == QUERIES_MAX => {
                    let why = format!("too many queries; send several requests queries_max={QUERIES_MAX}");
                    return Err(Error::new(ErrorKind::Invalid, why));
                }
                (1, Field::Bytes(query)) => queries.push(Query::decode(query)?),
                (2, Field::Varint(kind)) => accepted.push(kind),
                (2, Field::Bytes(packed)) => {
                    let mut kinds = Fields(packed);
                    while !kinds.0.is_empty() {
                        accepted.push(kinds.varint()?);
                    }
                }
                _ => {}
            }
        }
        Ok(Self { queries, answer: Answer::negotiate(&accepted)? })
    }
}

impl Answer {
    /// The first of what the client takes that we have.
    fn negotiate(accepted: &[u64]) -> Result<Self> {
        let known = accepted.iter().find_map(|kind| match kind {
            0 => Some(Self::Samples),
            1 => Some(Self::Chunks),
            _ => None,
        });
        match known {
            Some(known) => Ok(known),
            None if accepted.is_empty() => Ok(Self::Samples),
            None => {
                let what = "supported: SAMPLES, STREAMED_XOR_CHUNKS";
                let why = format!("server does not support any of the requested response types: {accepted:?}; {what}");
                Err(Error::new(ErrorKind::Invalid, why))
            }
        }
    }
}

impl Query {
    fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut start_ms, mut end_ms, mut matchers) = (0, 0, Vec::new());
        let mut fields = Fields(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Varint(ms)) => start_ms = ms.cast_signed(),
                (2, Field::Varint(ms)) => end_ms = ms.cast_signed(),
                (3, Field::Bytes(matcher)) => matchers.push(matcher_text(matcher)?),
                // Hints say what will be done with the samples; all of them are wanted whatever that is.
                _ => {}
            }
        }
        // Every series has a name, so the first matcher changes nothing; without it, matchers that the empty string fulfils would
        // be no selector.
        let selector = format!("{{__name__!=\"\",{}}}", matchers.join(","));
        let selector = Selector::parse(&selector)
            .map_err(|error| Error::new(ErrorKind::Invalid, format!("matchers are wrong: {error}")))?;
        let text = format!("{{{}}}", matchers.join(","));
        Ok(Self { text, selector, times_ms: start_ms..end_ms.saturating_add(1) })
    }
}

/// A matcher as PromQL writes it.
fn matcher_text(bytes: &[u8]) -> Result<String> {
    let (mut op, mut name, mut value) = ("=", "", "");
    let mut fields = Fields(bytes);
    while let Some(field) = fields.next()? {
        match field {
            (1, Field::Varint(kind)) => {
                let kind = usize::try_from(kind).map_err(|_| broken())?;
                op = ["=", "!=", "=~", "!~"].get(kind).copied().ok_or_else(broken)?;
            }
            (2, Field::Bytes(bytes)) => name = text(bytes)?,
            (3, Field::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    // JSON escapes what a text of PromQL has to escape, in the same way.
    let quoted = |text: &str| Value::from(text).to_string();
    Ok(format!("{}{op}{}", quoted(name), quoted(value)))
}
