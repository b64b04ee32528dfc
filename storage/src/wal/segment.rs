//! The bytes of one log segment: header, records, and what is wrong with them.
//!
//! Called by the log thread (write) and by recovery (scan). Layout, little endian:
//!
//! ```text
//! segment  = header record* zeros            named <first lsn, 20 digits>.wal, preallocated
//! header   = "SGWAL001" log:u128 first_lsn:u64 crc32c:u32 zeros   (64 bytes)
//! record   = len:u32 crc32c:u32 lsn:u64 synced:u64 payload zeros  (padded to 8 bytes)
//! ```
//!
//! `crc32c` covers everything of the record but itself. `synced` is the last record known durable when this one was written.
//! It tells a torn tail from damage: a broken record was acknowledged if a later intact record says that it was synced.

use std::ops::Range;

pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const RECORD_HEADER_BYTES: usize = 24;
const MAGIC: &[u8; 8] = b"SGWAL001";

/// What a scan of a segment found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Intact records, in order, from the segment's first.
    pub records: Vec<Found>,
    /// Where the intact prefix ends.
    pub end: usize,
    /// What follows it.
    pub tail: Tail,
}

/// One intact record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub lsn: u64,
    pub payload: Range<usize>,
}

/// What follows the intact prefix of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// Zeros, or the end of the file.
    Clean,
    /// A record that was being written when the machine stopped; it was never acknowledged.
    Torn,
    /// A record that was acknowledged is broken, and intact ones follow.
    Corrupt,
}

/// The header of a segment.
pub(crate) fn header(log: u128, first_lsn: u64) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..24].copy_from_slice(&log.to_le_bytes());
    out[24..32].copy_from_slice(&first_lsn.to_le_bytes());
    let crc = crc32c::crc32c(&out[..32]);
    out[32..36].copy_from_slice(&crc.to_le_bytes());
    out
}

/// The log's identity and the first LSN, if the header is intact.
pub(crate) fn read_header(bytes: &[u8]) -> Option<(u128, u64)> {
    let header = bytes.get(..HEADER_BYTES)?;
    let crc = u32::from_le_bytes(fixed(header, 32)?);
    (header.starts_with(MAGIC) && crc32c::crc32c(&header[..32]) == crc)
        .then_some((u128::from_le_bytes(fixed(header, 8)?), u64::from_le_bytes(fixed(header, 24)?)))
}

/// Appends a record to `out`; `write_payload` appends the payload. Fails if the payload exceeds 4 GiB.
pub(crate) fn write_record(out: &mut Vec<u8>, lsn: u64, synced: u64, write_payload: impl FnOnce(&mut Vec<u8>)) -> bool {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    write_payload(out);
    let Ok(len) = u32::try_from(out.len() - start - RECORD_HEADER_BYTES) else {
        out.truncate(start);
        return false;
    };
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    out[start + 8..start + 16].copy_from_slice(&lsn.to_le_bytes());
    out[start + 16..start + 24].copy_from_slice(&synced.to_le_bytes());
    let crc = checksum(&out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
    true
}

/// Finds the intact records of a segment whose header is intact.
pub(crate) fn scan(bytes: &[u8], first_lsn: u64) -> Scan {
    let mut records = Vec::new();
    let mut end = HEADER_BYTES.min(bytes.len());
    let mut expected = first_lsn;
    while let Some(record) = record_at(bytes, end).filter(|record| record.lsn == expected) {
        end = record.end;
        expected += 1;
        records.push(Found { lsn: record.lsn, payload: record.payload });
    }
    let rest = &bytes[end..];
    let acknowledged = (end..bytes.len().saturating_sub(RECORD_HEADER_BYTES)).step_by(8).any(|offset| {
        plausible(bytes, offset, expected)
            && record_at(bytes, offset).is_some_and(|later| later.lsn > expected && later.synced >= expected)
    });
    let tail = if acknowledged {
        Tail::Corrupt
    } else if rest.iter().all(|byte| *byte == 0) {
        Tail::Clean
    } else {
        Tail::Torn
    };
    Scan { records, end, tail }
}

struct RawRecord {
    lsn: u64,
    synced: u64,
    payload: Range<usize>,
    end: usize,
}

/// The record at an offset, if it is intact.
fn record_at(bytes: &[u8], offset: usize) -> Option<RawRecord> {
    let len = u32::from_le_bytes(fixed(bytes, offset)?) as usize;
    let crc = u32::from_le_bytes(fixed(bytes, offset + 4)?);
    let lsn = u64::from_le_bytes(fixed(bytes, offset + 8)?);
    let synced = u64::from_le_bytes(fixed(bytes, offset + 16)?);
    let start = offset + RECORD_HEADER_BYTES;
    let record = bytes.get(offset..start.checked_add(len)?)?;
    // No record is empty, so zeros are never one.
    (len > 0 && checksum(record) == crc).then(|| RawRecord {
        lsn,
        synced,
        payload: start..start + len,
        end: (start + len).next_multiple_of(8).min(bytes.len()),
    })
}

/// A cheap look before the checksum: an LSN not far above the expected one.
fn plausible(bytes: &[u8], offset: usize, expected: u64) -> bool {
    let lsn = fixed(bytes, offset + 8).map_or(0, u64::from_le_bytes);
    lsn > expected && lsn - expected < 1 << 32
}

/// CRC32C of a record (header and payload, unpadded), its own field left out.
fn checksum(record: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&record[..4]), &record[8..])
}

fn fixed<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..offset.checked_add(N)?)?.try_into().ok()
}
