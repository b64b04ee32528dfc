//! Remote read as a client speaks it: writes requests, and reads both kinds of answers.
//!
//! Called by the command that imports a history, which sends and receives. A server answers with a message of samples, or streams
//! frames of chunks, each with its length and checksum. Invariants: what is damaged is an error with its place; memory follows the
//! bytes that are there. Not here: the server's side.
//! Spec: <https://prometheus.io/docs/specs/remote_read_spec/>,
//! <https://github.com/prometheus/prometheus/blob/main/prompb/remote.proto>

use crate::{
    protobuf::{DecodeError, Reader, Span, Tag, put_bytes, put_number},
    remote_write::histogram,
    samples::{Sample, Samples},
    tsdb::{Broken, chunk},
};

type Result<T> = std::result::Result<T, DecodeError>;

/// Largest frame that is taken. Servers cut at 1 MiB, and a frame holds one chunk at least.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
/// Content type of an answer in frames.
pub const STREAMED: &str = "application/x-streamed-protobuf";

/// A condition on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher<'a> {
    /// `=`, `!=`, `=~` or `!~`.
    pub op: &'a str,
    /// Name of the label.
    pub label: &'a str,
    /// What it is compared to.
    pub value: &'a str,
}

/// A series of an answer.
#[derive(Debug, Default)]
pub struct Series<'a> {
    /// Names and values.
    pub labels: Vec<(&'a str, &'a str)>,
    /// Its samples, or a part of them; more may follow.
    pub samples: Samples,
    /// Chunks that could not be decoded, and what is wrong with them.
    pub broken: Vec<Broken>,
}

/// The message that asks for the samples of matching series in a range of time, both ends included. Asks for frames, and for samples
/// where the server has none.
#[must_use]
pub fn request(matchers: &[Matcher<'_>], first_ms: i64, last_ms: i64) -> Vec<u8> {
    let mut query = Vec::new();
    put_number(&mut query, 1, first_ms.cast_unsigned());
    put_number(&mut query, 2, last_ms.cast_unsigned());
    for matcher in matchers {
        let op = match matcher.op {
            "!=" => 1,
            "=~" => 2,
            "!~" => 3,
            _ => 0,
        };
        let mut message = Vec::new();
        put_number(&mut message, 1, op);
        put_bytes(&mut message, 2, matcher.label.as_bytes());
        put_bytes(&mut message, 3, matcher.value.as_bytes());
        put_bytes(&mut query, 3, &message);
    }
    let mut request = Vec::new();
    put_bytes(&mut request, 1, &query);
    put_bytes(&mut request, 2, &[1, 0]);
    request
}

/// Hands on the series of an answer in samples.
///
/// # Errors
/// What is wrong with the message.
pub fn samples<E: From<DecodeError>>(
    body: &[u8],
    mut each: impl FnMut(Series<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        if tag.field != 1 {
            reader.skip(tag)?;
            continue;
        }
        let mut result = reader.message(tag)?;
        while let Some(tag) = result.tag()? {
            match tag.field {
                1 => each(series(body, result.message(tag)?, sampled)?)?,
                _ => result.skip(tag)?,
            }
        }
    }
    Ok(())
}

/// Hands on the series of a frame.
///
/// # Errors
/// What is wrong with the frame.
pub fn frame<E: From<DecodeError>>(
    body: &[u8],
    mut each: impl FnMut(Series<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => each(series(body, reader.message(tag)?, |body, reader, tag, series| {
                match tag.field {
                    2 => chunked(body, reader.message(tag)?, series)?,
                    _ => reader.skip(tag)?,
                }
                Ok(())
            })?)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(())
}

type Field = for<'a> fn(&'a [u8], &mut Reader<'a>, Tag, &mut Series<'a>) -> Result<()>;

/// A series: its labels, and the fields that `other` reads.
fn series<'a>(body: &'a [u8], mut reader: Reader<'a>, other: Field) -> Result<Series<'a>> {
    let mut series = Series::default();
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => series.labels.push(label(body, reader.message(tag)?)?),
            _ => other(body, &mut reader, tag, &mut series)?,
        }
    }
    series.samples.sort();
    Ok(series)
}

fn sampled<'a>(_body: &'a [u8], reader: &mut Reader<'a>, tag: Tag, series: &mut Series<'a>) -> Result<()> {
    match tag.field {
        2 => {
            let mut reader = reader.message(tag)?;
            let mut sample = Sample { ts_ms: 0, bits: 0, start_ms: 0 };
            while let Some(tag) = reader.tag()? {
                match tag.field {
                    1 => sample.bits = reader.double_bits(tag)?,
                    2 => sample.ts_ms = reader.int64(tag)?,
                    _ => reader.skip(tag)?,
                }
            }
            series.samples.floats.push(sample);
        }
        4 => series.samples.histograms.push(histogram::whole(reader.message(tag)?)?),
        _ => reader.skip(tag)?,
    }
    Ok(())
}

fn label<'a>(body: &'a [u8], mut reader: Reader<'a>) -> Result<(&'a str, &'a str)> {
    let mut pair = ("", "");
    while let Some(tag) = reader.tag()? {
        match tag.field {
            1 => pair.0 = text(body, reader.span(tag)?)?,
            2 => pair.1 = text(body, reader.span(tag)?)?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(pair)
}

fn text(body: &[u8], span: Span) -> Result<&str> {
    let range = span.range();
    let what = "label is no UTF-8";
    str::from_utf8(body.get(range.clone()).unwrap_or_default()).map_err(|_| DecodeError { at: range.start, what })
}

fn chunked<'a>(body: &'a [u8], mut reader: Reader<'a>, series: &mut Series<'a>) -> Result<()> {
    let (mut encoding, mut data) = (0, &[][..]);
    while let Some(tag) = reader.tag()? {
        match tag.field {
            3 => encoding = reader.uint64(tag)?,
            4 => data = body.get(reader.span(tag)?.range()).unwrap_or_default(),
            _ => reader.skip(tag)?,
        }
    }
    if let Err(broken) = chunk::decode(encoding, data, &mut series.samples) {
        series.broken.push(broken);
    }
    Ok(())
}

/// The body of a frame that begins at the front of `bytes`, and how many bytes it takes with its head; `None` if more are needed.
///
/// # Errors
/// If it is too large, or its checksum does not match.
pub fn unframe(bytes: &[u8]) -> std::result::Result<Option<(&[u8], usize)>, Broken> {
    let mut length = 0u64;
    for (i, byte) in bytes.iter().enumerate() {
        if i >= 5 {
            return Err(Broken("frame has no length"));
        }
        length |= u64::from(byte & 0x7f) << (7 * i);
        if *byte < 0x80 {
            let length = usize::try_from(length).ok().filter(|length| *length <= FRAME_BYTES_MAX);
            let Some(length) = length else { return Err(Broken("frame is too large")) };
            let Some((checksum, rest)) = bytes.get(i + 1..).and_then(|rest| rest.split_first_chunk::<4>()) else {
                return Ok(None);
            };
            let Some(body) = rest.get(..length) else { return Ok(None) };
            if crc32c::crc32c(body) != u32::from_be_bytes(*checksum) {
                return Err(Broken("checksum of a frame does not match"));
            }
            return Ok(Some((body, i + 5 + length)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
