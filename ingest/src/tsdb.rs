//! Reads what a Prometheus keeps on disk: blocks, with their index, chunks and deletions, and the log of what is in none yet.
//!
//! Called by the command that imports a history; hands on [`Samples`] with the labels of their series. Decoders are functions of bytes
//! (`floats`, `histograms`), readers go through one file each (`index`, `segments`, `tombstones`, `wal`).
//!
//! Invariants: nothing is written; each part is checked against its checksum before it is believed; what is damaged is an error with
//! file and place, costs its chunk or series alone, and never a panic; memory follows the bytes that are there, not what they claim.
//! Not here: which blocks there are (their `meta.json`), what is done with samples.
//! Spec: <https://github.com/prometheus/prometheus/tree/main/tsdb/docs/format>

mod bits;
pub mod chunk;
mod file;
mod floats;
mod histograms;
mod index;
mod segments;
mod starts;
mod tombstones;
mod wal;

use std::{error::Error as _, fmt, io, ops::Range, path::Path};

pub use self::{
    index::{ChunkPlace, Entry, Index},
    wal::{Logged, Wal},
};
use self::{segments::Segments, tombstones::Tombstones};
use crate::{Error, Result, samples::Samples};

/// What is wrong with bytes that were to be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken(pub(crate) &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

/// A block: the samples of some hours or days.
#[derive(Debug)]
pub struct Block {
    index: Index,
    segments: Segments,
    tombstones: Tombstones,
}

impl Block {
    /// Opens the block in a folder.
    ///
    /// # Errors
    /// `Unavailable` if a file cannot be read, `Corrupt` with file and place if it is damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let index = Index::open(&folder.join("index"))?;
        let segments = Segments::open(&folder.join("chunks"))?;
        let tombstones = Tombstones::open(&folder.join("tombstones"))?;
        Ok(Self { index, segments, tombstones })
    }

    /// What is known of series.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Reads what the index says of a series.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn entry(&mut self, series: u64, entry: &mut Entry) -> Result<()> {
        self.index.entry(series, entry)
    }

    /// Reads the samples of a series in a range of time into `out`, in order, without those that were deleted. What is wrong with
    /// single chunks is returned; the others are read.
    pub fn samples(&mut self, series: u64, entry: &Entry, times_ms: Range<i64>, out: &mut Samples) -> Vec<Error> {
        out.clear();
        let mut faults = Vec::new();
        let stones = self.tombstones.of(series);
        for chunk in &entry.chunks {
            let touches = chunk.first_ms < times_ms.end && chunk.last_ms >= times_ms.start;
            let deleted = stones.iter().any(|(first, last)| *first <= chunk.first_ms && chunk.last_ms <= *last);
            if touches
                && !deleted
                && let Err(error) = self.segments.read(chunk.place, out)
            {
                faults.push(error);
            }
        }
        out.retain(|ts_ms| {
            times_ms.contains(&ts_ms) && !stones.iter().any(|(first, last)| (*first..=*last).contains(&ts_ms))
        });
        out.sort();
        faults
    }
}

/// Did a file or folder that an error is about not exist any more? A server that runs deletes what it has merged into a new block.
#[must_use]
pub fn has_vanished(error: &Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
}

fn low_u32(word: u64) -> u32 {
    let [a, b, c, d, ..] = word.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

#[cfg(test)]
mod tests;
