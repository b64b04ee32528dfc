//! Reads a log back: every intact record in order, the torn tail cut, damage reported with its place.
//!
//! Called when storage opens, and read-only by offline queries.

use std::{fs, path::Path, path::PathBuf};

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
    /// Segments without a record, and where the last one's intact prefix ends if something follows it.
    pub repair: Repair,
}

/// What has to be changed on disk before the log is written again.
#[derive(Debug, Default)]
pub(crate) struct Repair {
    remove: Vec<PathBuf>,
    cut: Option<(PathBuf, u64)>,
}

/// Reads the log in `dir`, which belongs to `log`. Changes nothing.
pub(crate) fn read(dir: &Path, log: u128, datasets: &[&'static Dataset]) -> Result<Recovered> {
    let mut recovered =
        Recovered { appends: Vec::new(), next_lsn: 1, segments: Vec::new(), repair: Repair::default() };
    let paths = segment_paths(dir)?;
    let last = paths.len().saturating_sub(1);
    for (i, (named_lsn, path)) in paths.into_iter().enumerate() {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            // Trimmed by a running server since the folder was listed; its records are committed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let Some((owner, first_lsn)) = segment::read_header(&bytes) else {
            if i == last {
                // The machine stopped while the segment was being made: nothing in it was acknowledged.
                recovered.repair.remove.push(path);
                continue;
            }
            return Err(corrupt(&path, 0, "segment header is broken"));
        };
        if owner != log || first_lsn != named_lsn {
            return Err(corrupt(&path, 0, "segment belongs to another log"));
        }
        if first_lsn != recovered.next_lsn && !recovered.segments.is_empty() {
            return Err(corrupt(&path, 0, &format!("records are missing before it, from lsn={}", recovered.next_lsn)));
        }
        recovered.next_lsn = first_lsn;
        read_segment(&mut recovered, &path, &bytes, i == last, datasets)?;
        recovered.segments.push((first_lsn, path));
    }
    Ok(recovered)
}

fn read_segment(
    recovered: &mut Recovered,
    path: &Path,
    bytes: &[u8],
    last: bool,
    datasets: &[&'static Dataset],
) -> Result<()> {
    let scan = segment::scan(bytes, recovered.next_lsn);
    if scan.tail == Tail::Corrupt {
        let what = format!("an acknowledged record is broken and intact ones follow, lsn={}", next(&scan, recovered));
        return Err(corrupt(path, scan.end, &what));
    }
    if scan.tail == Tail::Torn && last {
        tracing::warn!(path = %path.display(), offset = scan.end, "cutting a torn record, which was never acknowledged");
        recovered.repair.cut = Some((path.to_owned(), scan.end as u64));
    }
    recovered.next_lsn = next(&scan, recovered);
    for found in scan.records {
        let batches = payload::decode(&bytes[found.payload.clone()], datasets)
            .map_err(|error| corrupt(path, found.payload.start + error.offset, error.what).caused_by(error))?;
        recovered.appends.push((found.lsn.cast_signed(), batches));
    }
    Ok(())
}

fn next(scan: &segment::Scan, recovered: &Recovered) -> u64 {
    scan.records.last().map_or(recovered.next_lsn, |record| record.lsn + 1)
}

impl Repair {
    /// Brings the disk to what was read.
    pub(crate) fn apply(&self, disk: &dyn Disk, dir: &Path) -> std::io::Result<()> {
        for path in &self.remove {
            disk.remove(path)?;
        }
        if let Some((path, end)) = &self.cut {
            let file = disk.open(path)?;
            file.set_len(*end)?;
            file.sync()?;
        }
        disk.sync_dir(dir)
    }
}

fn segment_paths(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
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
            "the write-ahead log is damaged: {what}; keep a copy of the folder, then restore it or move the segment away \
             to go on without its rows, file={} offset={offset}",
            path.display()
        ),
    )
}
