//! Reads the log of a Prometheus: what it has taken in since the last block, and its series.
//!
//! Called by the command that imports a history. The log is a checkpoint, which is what was still needed of older segments, and the
//! segments after it. A segment is pages of 32 KiB; a record is in one or more fragments, each inside a page. Invariants: a fragment
//! is checked against its checksum before it is believed; after what is damaged, reading goes on with the next page; the end of the
//! last segment may be torn, since its server may be writing. Not here: the format of records (`records`).
//! Spec: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/wal.md>

mod records;

use std::{
    borrow::Cow,
    fs,
    path::{Path, PathBuf},
};

use super::{Broken, file::File};
use crate::{
    Error, ErrorKind, Result,
    samples::{Histogram, Sample},
};

const PAGE_BYTES: usize = 32 << 10;
/// Type, length, checksum.
const HEAD_BYTES: usize = 7;
/// Largest record that is believed, also decompressed; servers cut at some thousands of samples.
const RECORD_BYTES_MAX: usize = 256 << 20;
/// Begin of the names of checkpoints.
const CHECKPOINT: &str = "checkpoint.";

/// Something that was logged.
#[derive(Debug, PartialEq)]
pub enum Logged<'a> {
    /// A series, and the number that stands for it.
    Series(u64, Vec<(&'a str, &'a str)>),
    /// A sample of a series.
    Sample(u64, Sample),
    /// A histogram of a series.
    Histogram(u64, Box<Histogram>),
    /// What was deleted of a series, both ends included.
    Deleted(u64, i64, i64),
}

/// The files of a log, oldest first.
#[derive(Clone, Debug)]
pub struct Wal {
    files: Vec<PathBuf>,
}

impl Wal {
    /// Finds the files of the log in a folder; there may be none.
    ///
    /// # Errors
    /// `Unavailable` if a folder cannot be read.
    pub fn find(folder: &Path) -> Result<Self> {
        let entries = numbered(folder, "")?;
        let checkpoint = numbered(folder, CHECKPOINT)?.pop();
        let mut files = Vec::new();
        let after = checkpoint.as_ref().map(|(number, _)| *number);
        if let Some((_, folder)) = &checkpoint {
            files.extend(numbered(folder, "")?.into_iter().map(|(_, path)| path));
        }
        files.extend(entries.into_iter().filter(|(number, _)| Some(*number) > after).map(|(_, path)| path));
        Ok(Self { files })
    }

    /// How many files it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Has it none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Hands on what a file has. What is damaged is returned; the rest is handed on.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be read; those of `each`.
    pub fn read<E: From<Error>>(
        &self,
        number: usize,
        mut each: impl FnMut(Logged<'_>) -> Result<(), E>,
    ) -> Result<Vec<Error>, E> {
        let Some(path) = self.files.get(number) else { return Ok(Vec::new()) };
        let mut segment = Segment {
            file: File::open(path)?,
            is_last: number + 1 == self.files.len(),
            record: Vec::new(),
            begun: false,
            faults: Vec::new(),
        };
        let mut at = 0;
        while at < segment.file.bytes() {
            segment.page(at, &mut each)?;
            at += u64::try_from(PAGE_BYTES).unwrap_or(u64::MAX);
        }
        Ok(segment.faults)
    }
}

/// Entries of a folder that are called by a number, in its order.
fn numbered(folder: &Path, prefix: &str) -> Result<Vec<(u64, PathBuf)>> {
    let unreadable = |error: std::io::Error| {
        let message = format!("folder cannot be read: {error} folder={}", folder.display());
        Error::new(ErrorKind::Unavailable, message).caused_by(error)
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let number = path.file_name().and_then(|name| name.to_str()?.strip_prefix(prefix)?.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

/// A file of the log being read.
struct Segment {
    file: File,
    is_last: bool,
    /// Fragments of a record that goes on.
    record: Vec<u8>,
    begun: bool,
    faults: Vec<Error>,
}

impl Segment {
    fn page<E: From<Error>>(&mut self, page: u64, each: &mut impl FnMut(Logged<'_>) -> Result<(), E>) -> Result<(), E> {
        let bytes = self.file.up_to(page, PAGE_BYTES)?.to_vec();
        let is_torn = self.is_last && bytes.len() < PAGE_BYTES;
        let mut at = 0;
        while let Some([kind, a, b, checksum @ ..]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<HEAD_BYTES>())
        {
            let place = page.saturating_add(u64::try_from(at).unwrap_or_default());
            if kind & 7 == 0 {
                if bytes.get(at..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0)) {
                    self.damaged(place, Broken("page has something after its end"));
                }
                return Ok(());
            }
            let length = usize::from(u16::from_be_bytes([*a, *b]));
            let Some(fragment) = bytes.get(at + HEAD_BYTES..at + HEAD_BYTES + length) else {
                if !is_torn {
                    self.damaged(place, Broken("record ends beyond its page"));
                }
                return Ok(());
            };
            if crc32c::crc32c(fragment) != u32::from_be_bytes(*checksum) {
                self.damaged(place, Broken("checksum of a record does not match"));
                return Ok(());
            }
            at += HEAD_BYTES + length;
            self.fragment(*kind, fragment, place, each)?;
        }
        Ok(())
    }

    fn fragment<E: From<Error>>(
        &mut self,
        kind: u8,
        fragment: &[u8],
        place: u64,
        each: &mut impl FnMut(Logged<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (first, last) = match kind & 7 {
            1 => (true, true),
            2 => (true, false),
            3 => (false, false),
            4 => (false, true),
            _ => {
                self.damaged(place, Broken("record has a type that is not known"));
                return Ok(());
            }
        };
        if first {
            self.record.clear();
        } else if !self.begun {
            // The rest of a record whose begin was damaged.
            return Ok(());
        }
        self.begun = !last;
        self.record.extend_from_slice(fragment);
        if self.record.len() > RECORD_BYTES_MAX {
            self.damaged(place, Broken("record is too large"));
        } else if last {
            let record = std::mem::take(&mut self.record);
            let read = match decompressed(kind, &record) {
                Ok(record) => records::read(&record, each)?,
                Err(broken) => Err(broken),
            };
            if let Err(broken) = read {
                self.damaged(place, broken);
            }
            self.record = record;
        }
        Ok(())
    }

    fn damaged(&mut self, place: u64, broken: Broken) {
        self.begun = false;
        self.faults.push(self.file.fault(place, broken));
    }
}

fn decompressed(kind: u8, record: &[u8]) -> Result<Cow<'_, [u8]>, Broken> {
    const BROKEN: Broken = Broken("record cannot be decompressed");
    if kind & 0x08 != 0 {
        let bytes = snap::raw::decompress_len(record).map_err(|_| BROKEN)?;
        if bytes > RECORD_BYTES_MAX {
            return Err(BROKEN);
        }
        snap::raw::Decoder::new().decompress_vec(record).map(Cow::Owned).map_err(|_| BROKEN)
    } else if kind & 0x10 != 0 {
        zstd::bulk::decompress(record, RECORD_BYTES_MAX).map(Cow::Owned).map_err(|_| BROKEN)
    } else {
        Ok(Cow::Borrowed(record))
    }
}

#[cfg(test)]
mod tests;
