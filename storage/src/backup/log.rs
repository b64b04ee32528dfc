//! The write-ahead log of a backup: what the pinned tables lack, as the segments it is in.
//!
//! Called while a backup is taken. Without it a backup would lack rows that others need: each table is committed at its own times, so
//! that samples can be in a file while the row that names their series is in the log alone, or costs while their sums are.
//!
//! Segments are opened before the tables are pinned and once more after, and an open file can be read when the server has trimmed it.
//! What was trimmed meanwhile is among the first, what came meanwhile is among the second: together they hold every record above the
//! tables' positions. Not here: reading records (`wal::recovery`), and giving them to a new log (`restore`).

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek},
    path::{Path, PathBuf},
    time::Duration,
};

use schemas::Dataset;

use super::{
    Backups, Kept, LogCopy, Source,
    copy::Failed,
    manifest, path,
    take::{Pinned, Shelf, object_of},
};
use crate::{
    Batch, ErrorKind, Result, Write,
    delta::Table,
    folder::{Folder, table_root},
    wal::recovery::{self, Committed, Recovered},
};

/// Readings of a segment that is being written before its state is believed to be damage.
const READINGS: u32 = 5;

/// Segments of a log, open, by first LSN.
#[derive(Debug, Default)]
pub(super) struct Segments {
    open: BTreeMap<u64, (PathBuf, File)>,
    /// First LSN of the newest of the first look, once there was one.
    newest_before: Option<u64>,
}

/// One of them, read.
struct Segment {
    path: PathBuf,
    /// Up to its last intact record.
    bytes: Vec<u8>,
    recovered: Recovered,
}

impl Segments {
    /// Opens those that are there now, beside those that are open.
    pub(super) fn open(&mut self, folder: &Folder) -> Result<()> {
        for (first_lsn, path) in recovery::segment_paths(&folder.wal_dir())? {
            match File::open(&path) {
                Ok(file) => _ = self.open.entry(first_lsn).or_insert((path, file)),
                // Trimmed since the folder was listed: its rows are in the tables that are pinned next, or it is open already.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.newest_before = self.newest_before.or_else(|| Some(self.open.last_key_value().map_or(0, |(lsn, _)| *lsn)));
        Ok(())
    }

    /// Is a segment missing before this one? The server takes away the oldest, so one that is missing among those of one look was moved
    /// away by people, who were told what that means; one that came and went between two looks is missing without a trace.
    fn lacks_before(&self, first_lsn: u64, next_lsn: Option<u64>) -> bool {
        self.newest_before.is_some_and(|newest| first_lsn > newest) && next_lsn.is_some_and(|next| next != first_lsn)
    }
}

impl Backups {
    /// Keeps the log of pinned tables. `None` if it cannot be read, which is no reason to leave the tables without a backup.
    pub(super) async fn log(
        &self,
        source: &Source,
        pinned: &Pinned,
        shelf: &mut Shelf,
    ) -> Result<Option<LogCopy>, Failed> {
        let Some((folder, _)) = &source.folder else { return Ok(None) };
        let log = folder.source();
        let position = |table: &Table| (table.dataset.name, table.position(&log));
        let committed = Committed(pinned.tables.iter().map(position).collect());
        let mut copy = LogCopy { source: log.clone(), rows: BTreeMap::new(), segments: Vec::new(), staged: Vec::new() };
        let mut next_lsn = None;
        for (first_lsn, (path, file)) in &pinned.segments.open {
            let segment = match read(path, file, folder, (&source.datasets, &committed)).await {
                Ok(Some(segment)) => segment,
                Ok(None) => continue,
                Err(error) => {
                    tracing::error!(error = %error.chain(), "the log cannot be read: the backup is without its rows");
                    return Ok(None);
                }
            };
            if pinned.segments.lacks_before(*first_lsn, next_lsn) {
                return Err(Failed::Gone(format!("{} has gone on while it was looked at", folder.wal_dir().display())));
            }
            next_lsn = Some(segment.recovered.next_lsn);
            // Those before the first that holds a row are of no use, if the tables show that they were there: a log that begins in
            // the middle belongs to tables that know its beginning. Those after it hold the place of their records.
            let known = segment.recovered.next_lsn.cast_signed() <= committed.max() + 1;
            if copy.segments.is_empty() && segment.recovered.appends.is_empty() && known {
                continue;
            }
            count(&segment.recovered, &mut copy.rows);
            copy.staged.extend(staged(source, &segment.recovered)?);
            copy.segments.push(self.segment(segment, shelf).await?);
        }
        Ok(Some(copy))
    }

    async fn segment(&self, segment: Segment, shelf: &mut Shelf) -> Result<Kept> {
        let Segment { path: file, bytes, .. } = segment;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let (size, sum) = (bytes.len() as u64, crc32c::crc32c(&bytes));
        let object = format!("{}/{sum:08x}-{size}/wal/{name}", manifest::OTHERS);
        self.keep(&object, (sum, bytes), shelf).await?;
        Ok(Kept { path: format!("wal/{name}"), object, size, crc32c: sum, modified_ms: None })
    }
}

/// Reads one segment, up to its last intact record.
async fn read(
    path: &Path,
    mut file: &File,
    folder: &Folder,
    (datasets, committed): (&[&'static Dataset], &Committed),
) -> Result<Option<Segment>> {
    for reading in 1.. {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        match recovery::read_one((path, &bytes), folder.log, datasets, committed) {
            // A group that is being written can look torn in the middle for a moment.
            Err(error) if error.kind == ErrorKind::Corrupt && reading < READINGS => {
                tokio::time::sleep(Duration::from_millis(50 * u64::from(reading))).await;
            }
            Err(error) => return Err(error),
            Ok(None) => return Ok(None),
            Ok(Some((recovered, end))) => {
                bytes.truncate(end);
                return Ok(Some(Segment { path: path.to_owned(), bytes, recovered }));
            }
        }
    }
    Ok(None)
}

/// The files that replacements put into tables. Their sums are known once they are copied.
fn staged(source: &Source, recovered: &Recovered) -> Result<Vec<Kept>> {
    let mut staged = Vec::new();
    for Batch { dataset, write } in recovered.appends.iter().flat_map(|(_, batches)| batches) {
        let Write::Replace(replacement) = write else { continue };
        for add in replacement.files.iter() {
            let path = path(&format!("{}/{}", table_root(&source.tenant, dataset), add.path))?;
            let (size, object) = (add.size.try_into().unwrap_or_default(), object_of(&path));
            staged.push(Kept { path: path.to_string(), object, size, crc32c: 0, modified_ms: None });
        }
    }
    Ok(staged)
}

/// Counts rows by dataset.
fn count(recovered: &Recovered, rows: &mut BTreeMap<String, u64>) {
    let batches = recovered.appends.iter().flat_map(|(_, batches)| batches);
    for Batch { dataset, write } in batches {
        if let Write::Append(batch, _) = write {
            *rows.entry(dataset.name.to_owned()).or_default() += batch.num_rows() as u64;
        }
    }
}
