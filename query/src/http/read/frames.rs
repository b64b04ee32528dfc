//! Chunks of series as a stream of frames, each a `prometheus.ChunkedReadResponse`.
//!
//! Called by the endpoint, frame by frame, while the answer goes out. A frame has chunks of one series; a series of many chunks takes
//! several. Before a frame stand its length and its checksum.
//!
//! Spec: <https://prometheus.io/docs/specs/prw/remote_read_api/#streamed-chunks>

use std::vec::IntoIter;

use super::{
    chunks::{Chunk, chunks},
    samples::put_labels,
    wire::{put_bytes, put_message, put_number, put_varint},
};
use crate::{Result, raw::Raw};

/// Bytes of a frame, about, as Prometheus has it: it may be more by one chunk.
const FRAME_BYTES: usize = 1 << 20;

/// The answer to one query.
pub(super) struct Frames {
    raw: Raw,
    /// Of the query in its request.
    index: u64,
    /// The next series.
    at: usize,
    /// Labels and chunks of the series before it that are still to be written.
    rest: Option<(Vec<u8>, IntoIter<Chunk>)>,
}

impl Frames {
    pub(super) fn new(raw: Raw, index: u64) -> Self {
        Self { raw, index, at: 0, rest: None }
    }

    /// The next frame.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let Some((labels, rest)) = &mut self.rest else {
                if self.at == self.raw.len() {
                    return Ok(None);
                }
                let series = self.raw.series(self.at);
                self.at += 1;
                let mut labels = Vec::new();
                put_labels(&mut labels, &series);
                self.rest = Some((labels, chunks(&series)?.into_iter()));
                continue;
            };
            let mut series = labels.clone();
            let before = series.len();
            while series.len() < FRAME_BYTES
                && let Some(chunk) = rest.next()
            {
                put_message(&mut series, 2, |message| put_chunk(message, &chunk));
            }
            if series.len() == before {
                self.rest = None;
                continue;
            }
            let mut message = Vec::with_capacity(series.len() + 16);
            put_bytes(&mut message, 1, &series);
            put_number(&mut message, 2, self.index);
            return Ok(Some(frame(&message)));
        }
    }
}

fn put_chunk(out: &mut Vec<u8>, chunk: &Chunk) {
    put_number(out, 1, chunk.times_ms.0.cast_unsigned());
    put_number(out, 2, chunk.times_ms.1.cast_unsigned());
    put_number(out, 3, chunk.encoding as u64);
    put_bytes(out, 4, &chunk.bytes);
}

fn frame(message: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(message.len() + 14);
    put_varint(&mut frame, message.len() as u64);
    frame.extend_from_slice(&crc32c::crc32c(message).to_be_bytes());
    frame.extend_from_slice(message);
    frame
}
