//! Reads a log back: every intact record in order, the torn tail cut, damage reported with its place.
//!
//! Called when storage opens, and read-only by offline queries and, segment by segment, by backups.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use schemas::Dataset;

use super::{
    first_lsn_of, payload,
    segment::{self, Tail},
};
use crate::{Batch, Error, ErrorKind, Result, disk::Disk};

/// A log read back.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Appends, oldest first, with their LSN.
    pub appends: Vec<(i64, Vec<Batch>)>,
    /// LSN of the next record.
    pub next_lsn: u64,
    /// Segments that stay, by first LSN.
    pub segments: Vec<(u64, PathBuf)>,
    /// What the disk needs before it is written again.
    pub repair: Repair,
}

/// What has to be done on disk before the log is written again.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    /// A segment that was being made.
    remove: Option<PathBuf>,
    /// The last segment, and where its intact prefix ends.
    last: Option<(PathBuf, u64)>,
}

/// What the tables hold already.
#[derive(Debug, Default)]
pub(crate) struct Committed(pub BTreeMap<&'static str, i64>);

impl Committed {
    fn has(&self, dataset: &str, lsn: i64) -> bool {
        self.0.get(dataset).is_some_and(|position| lsn <= *position)
    }

    pub(crate) fn max(&self) -> i64 {
        self.0.values().copied().max().unwrap_or(0)
    }
}

/// Reads the log in `dir`, which belongs to `log`, leaving out what is committed. Changes nothing.
pub(crate) fn read(dir: &Path, log: u128, datasets: &[&'static Dataset], committed: &Committed) -> Result<Recovered> {
    let mut recovered = Recovered { appends: Vec::new(), next_lsn: 1, segments: Vec::new(), repair: Repair::default() };
    let paths = segment_paths(dir)?;
    let last = paths.len().saturating_sub(1);
    for (i, (named_lsn, path)) in paths.into_iter().enumerate() {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            // Trimmed by a running server since the folder was listed, and with it all before it: their rows are committed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                recovered.appends.clear();
                recovered.segments.clear();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let Some((owner, first_lsn)) = segment::read_header(&bytes) else {
            let made = bytes.iter().skip(segment::HEADER_BYTES).any(|byte| *byte != 0);
            if i == last && !made {
                // The machine stopped while the segment was being made: the header is durable before any record.
                recovered.repair.remove = Some(path);
                continue;
            }
            return Err(corrupt(&path, 0, "segment header is broken"));
        };
        if owner != log || first_lsn != named_lsn {
            return Err(corrupt(&path, 0, "segment belongs to another log"));
        }
        // A gap is harmless if all that it could have held is committed, as when damaged segments were moved away.
        let missed = first_lsn != recovered.next_lsn && first_lsn.cast_signed() - 1 > committed.max();
        if missed && !recovered.segments.is_empty() {
            return Err(corrupt(&path, 0, &format!("records are missing before it, from lsn={}", recovered.next_lsn)));
        }
        recovered.next_lsn = first_lsn;
        let end = read_segment(&mut recovered, &path, &bytes, (datasets, committed))?;
        recovered.repair.last = Some((path.clone(), end as u64));
        recovered.segments.push((first_lsn, path));
    }
    Ok(recovered)
}

/// Reads one segment of a log by itself: what it has above what is committed, and where its intact bytes end. `None` if it is being
/// made.
pub(crate) fn read_one(
    (path, bytes): (&Path, &[u8]),
    log: u128,
    datasets: &[&'static Dataset],
    committed: &Committed,
) -> Result<Option<(Recovered, usize)>> {
    let Some((owner, first_lsn)) = segment::read_header(bytes) else { return Ok(None) };
    if owner != log || first_lsn_of(path) != Some(first_lsn) {
        return Err(corrupt(path, 0, "segment belongs to another log"));
    }
    let (segments, repair) = (vec![(first_lsn, path.to_owned())], Repair::default());
    let mut recovered = Recovered { appends: Vec::new(), next_lsn: first_lsn, segments, repair };
    let end = read_segment(&mut recovered, path, bytes, (datasets, committed))?;
    Ok(Some((recovered, end)))
}

fn read_segment(
    recovered: &mut Recovered,
    path: &Path,
    bytes: &[u8],
    (datasets, committed): (&[&'static Dataset], &Committed),
) -> Result<usize> {
    let scan = segment::scan(bytes, recovered.next_lsn);
    if scan.tail == Tail::Corrupt {
        let what = format!("an acknowledged record is broken and intact ones follow, lsn={}", next(&scan, recovered));
        return Err(corrupt(path, scan.end, &what));
    }
    if scan.tail == Tail::Torn {
        tracing::warn!(path = %path.display(), offset = scan.end, "a torn record is left out; it was never acknowledged");
    }
    recovered.next_lsn = next(&scan, recovered);
    for found in scan.records {
        let lsn = found.lsn.cast_signed();
        let mut batches = payload::decode(&bytes[found.payload.clone()], datasets)
            .map_err(|error| corrupt(path, found.payload.start + error.offset, error.what).caused_by(error))?;
        batches.retain(|batch| !committed.has(batch.dataset.name, lsn));
        if !batches.is_empty() {
            recovered.appends.push((lsn, batches));
        }
    }
    Ok(scan.end)
}

fn next(scan: &segment::Scan, recovered: &Recovered) -> u64 {
    scan.records.last().map_or(recovered.next_lsn, |record| record.lsn + 1)
}

impl Repair {
    /// Makes durable what was read. The last segment's end may only be in the page cache: its process may have died, or its
    /// sync have failed, between write and sync. It is written again, because a page that once failed to sync counts as clean.
    pub(crate) fn apply(&self, disk: &dyn Disk, dir: &Path) -> std::io::Result<()> {
        if let Some(path) = &self.remove {
            disk.remove(path)?;
        }
        if let Some((path, end)) = &self.last {
            let mut bytes = fs::read(path)?;
            bytes.truncate(usize::try_from(*end).unwrap_or(usize::MAX));
            let file = disk.open(path)?;
            file.write_at(&bytes, 0)?;
            file.set_len(*end)?;
            file.sync()?;
        }
        disk.sync_dir(dir)
    }
}

/// The segments of a log, by first LSN.
pub(crate) fn segment_paths(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(lsn) = first_lsn_of(&path) {
            paths.push((lsn, path));
        }
    }
    paths.sort();
    Ok(paths)
}

fn corrupt(path: &Path, offset: usize, what: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!(
            "the write-ahead log is damaged: {what}; keep a copy of the folder, then restore it, or move this segment and \
             all later ones away to go on without their rows, file={} offset={offset}",
            path.display()
        ),
    )
}
