//! Reads the index of a block: which series there are, their labels, and where their chunks are.
//!
//! Called by [`Block`](super::Block). Of the index only symbols, the list of all series and the series themselves are read; the other
//! lists serve queries. Versions 1 to 3 differ in how symbols and series are referred to. Invariants: each part is checked against its
//! checksum before it is believed; a damaged series is an error of its own, and the others are read.
//! Spec: <https://github.com/prometheus/prometheus/blob/main/tsdb/docs/format/index.md>

use std::path::Path;

use super::file::{Cursor, File};
use crate::{Error, Result};

const MAGIC: u32 = 0xBAAA_D700;
/// Table of contents: six offsets and a checksum.
const TOC_BYTES: usize = 48;
/// From version 2 on, series begin at multiples of this, and are known by the multiple.
const ALIGNED_BYTES: u64 = 16;
/// Longest entry of a series that is believed: some hundred labels and a chunk every few samples for years are a tenth of it.
const ENTRY_BYTES_MAX: u64 = 64 << 20;
/// Bytes in which a length in groups of seven bits ends.
const LENGTH_BYTES: usize = 10;

/// The index of a block.
#[derive(Debug)]
pub struct Index {
    file: File,
    version: u8,
    symbols: Symbols,
    series: Vec<u64>,
}

/// The strings of labels.
#[derive(Debug)]
struct Symbols {
    bytes: Vec<u8>,
    /// Where each begins; of version 1 none, which refers to places in the file.
    starts: Vec<u32>,
    /// Place of `bytes` in the file.
    at: u64,
}

/// A series as the index has it.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    labels: Vec<(u32, u32)>,
    /// Its chunks, in order of time.
    pub chunks: Vec<ChunkPlace>,
}

/// Where a chunk is, and of which time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Time of its first sample.
    pub first_ms: i64,
    /// Time of its last sample.
    pub last_ms: i64,
    /// Which file, and where in it.
    pub place: u64,
}

impl Index {
    /// Reads symbols and the list of series.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be read, `Corrupt` with its name and the place if it is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path)?;
        let magic = file.word(0)?;
        if magic != MAGIC {
            return Err(file.fault(0, "file is no index of a block"));
        }
        let version = file.exactly(4, 1)?.first().copied().unwrap_or_default();
        if !(1..=3).contains(&version) {
            return Err(file.fault(4, format_args!("index has a version that is not known: version={version}")));
        }
        let toc_bytes = u64::try_from(TOC_BYTES + 4).unwrap_or_default();
        let toc_at = file.bytes().checked_sub(toc_bytes).ok_or_else(|| file.fault(0, "index is too short"))?;
        let mut toc = Cursor(file.checked(toc_at, TOC_BYTES)?);
        let mut offset = || toc.long().unwrap_or_default();
        let (symbols, _series, _labels, _label_table, _postings, table) =
            (offset(), offset(), offset(), offset(), offset(), offset());
        let symbols = Symbols::read(&mut file, symbols, version)?;
        let series = match all_postings(&mut file, table)? {
            Some(at) => series(&mut file, at)?,
            None => Vec::new(),
        };
        Ok(Self { file, version, symbols, series })
    }

    /// References of all series, in order of their labels, which is that of their chunks.
    #[must_use]
    pub fn series(&self) -> &[u64] {
        &self.series
    }

    /// Reads a series.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn entry(&mut self, series: u64, entry: &mut Entry) -> Result<()> {
        let at = if self.version == 1 { series } else { series.saturating_mul(ALIGNED_BYTES) };
        let mut length = Cursor(self.file.up_to(at, LENGTH_BYTES)?);
        let before = length.0.len();
        let bytes = length.uvarint().filter(|bytes| *bytes <= ENTRY_BYTES_MAX);
        let prefix = before - length.0.len();
        let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) else {
            return Err(self.file.fault(at, "series has no length"));
        };
        let body_at = at.saturating_add(u64::try_from(prefix).unwrap_or_default());
        let body = self.file.checked(body_at, bytes)?;
        match entry.read(Cursor(body)) {
            Some(()) => Ok(()),
            None => Err(self.file.fault(at, "series ends too early")),
        }
    }

    /// Names and values of a series' labels.
    ///
    /// # Errors
    /// `Corrupt` if it refers to a string that is not there or is no text.
    pub fn labels<'a>(&'a self, series: u64, entry: &Entry, out: &mut Vec<(&'a str, &'a str)>) -> Result<()> {
        out.clear();
        for (name, value) in &entry.labels {
            match (self.symbols.text(*name), self.symbols.text(*value)) {
                (Some(name), Some(value)) => out.push((name, value)),
                _ => return Err(self.fault(series, "series refers to a string that is not there or is no text")),
            }
        }
        Ok(())
    }

    /// The error that says what is wrong with a series.
    pub(super) fn fault(&self, series: u64, what: &str) -> Error {
        let at = if self.version == 1 { series } else { series.saturating_mul(ALIGNED_BYTES) };
        self.file.fault(at, what)
    }
}

impl Symbols {
    fn read(file: &mut File, section: u64, version: u8) -> Result<Self> {
        let bytes = file.word(section)? as usize;
        let at = section.saturating_add(4);
        let bytes = file.checked(at, bytes)?.to_vec();
        let mut starts = Vec::new();
        if version > 1 {
            let mut cursor = Cursor(&bytes);
            let count = cursor.word().unwrap_or_default();
            // Each takes a byte at least.
            starts.reserve((count as usize).min(bytes.len()));
            for _ in 0..count {
                let start = u32::try_from(bytes.len() - cursor.0.len()).unwrap_or(u32::MAX);
                if cursor.text().is_none() {
                    return Err(file.fault(at, "table of symbols ends too early"));
                }
                starts.push(start);
            }
        }
        Ok(Self { bytes, starts, at })
    }

    fn text(&self, symbol: u32) -> Option<&str> {
        let start = if self.starts.is_empty() {
            usize::try_from(u64::from(symbol).checked_sub(self.at)?).ok()?
        } else {
            *self.starts.get(symbol as usize)? as usize
        };
        str::from_utf8(Cursor(self.bytes.get(start..)?).text()?).ok()
    }
}

impl Entry {
    fn read(&mut self, mut cursor: Cursor<'_>) -> Option<()> {
        self.labels.clear();
        self.chunks.clear();
        for _ in 0..cursor.uvarint()? {
            let name = u32::try_from(cursor.uvarint()?).ok()?;
            self.labels.push((name, u32::try_from(cursor.uvarint()?).ok()?));
        }
        let mut before = ChunkPlace { first_ms: 0, last_ms: 0, place: 0 };
        for i in 0..cursor.uvarint()? {
            let first = if i == 0 { cursor.varint()? } else { cursor.uvarint()?.cast_signed() };
            let first_ms = before.last_ms.wrapping_add(first);
            let last_ms = first_ms.wrapping_add(cursor.uvarint()?.cast_signed());
            let place = if i == 0 { cursor.uvarint()? } else { before.place.wrapping_add_signed(cursor.varint()?) };
            before = ChunkPlace { first_ms, last_ms, place };
            self.chunks.push(before);
        }
        Some(())
    }
}

/// Where the list of all series is: it is kept under the empty label, which sorts first.
fn all_postings(file: &mut File, table: u64) -> Result<Option<u64>> {
    if table == 0 {
        return Ok(None);
    }
    let bytes = u64::from(file.word(table)?);
    let start = table.saturating_add(4);
    file.check(start, bytes)?;
    let count = file.word(start)?;
    let mut at = start.saturating_add(4);
    for _ in 0..count {
        // A name and a value are this long at most; what is longer is not the empty one and ends the search.
        let mut cursor = Cursor(file.up_to(at, 64 << 10)?);
        let before = cursor.0.len();
        let entry = (|| {
            cursor.uvarint()?;
            Some((cursor.text()?, cursor.text()?, cursor.uvarint()?))
        })();
        match entry {
            Some((b"", b"", offset)) => return Ok(Some(offset)),
            Some(_) => at = at.saturating_add(u64::try_from(before - cursor.0.len()).unwrap_or_default()),
            None => break,
        }
    }
    Err(file.fault(table, "index has no list of all series"))
}

fn series(file: &mut File, at: u64) -> Result<Vec<u64>> {
    let bytes = file.word(at)? as usize;
    let mut cursor = Cursor(file.checked(at.saturating_add(4), bytes)?);
    let count = cursor.word().unwrap_or_default() as usize;
    if cursor.0.len() != count.saturating_mul(4) {
        return Err(file.fault(at, "list of all series has another length than it says"));
    }
    Ok(std::iter::from_fn(|| cursor.word().map(u64::from)).collect())
}
