//! Writes rows into files that nobody sees yet.
//!
//! Called by loads of bills, which hand the finished files to [`Storage::append`] as a replacement. Rows gather until a buffer is full,
//! are then sorted, cut into partitions and encoded on the blocking pool while the next ones gather, and put. Invariants: holds two
//! buffers and the files made of one; what is dropped unfinished leaves files that no commit names, which upkeep deletes after a day, so
//! a replacement must be appended within one.

use std::{mem, sync::Arc};

use arrow::array::RecordBatch;
use schemas::Dataset;
use tokio::task::JoinHandle;

use crate::{
    Error, ErrorKind, Lane, Replacement, Result, Storage,
    commit::{Folder, Kind},
    delta::action::Add,
    folder, parquet_file,
    parquet_file::Encoded,
    sort::{Equal, sort_into_partitions},
};

/// Rows that are sorted together, bytes in memory: enough that what compresses well lies together, and a few times over still little beside
/// the half gigabyte that a load may take.
const BUFFER_BYTES: usize = 48 << 20;

/// Rows on their way into files.
#[must_use = "files are seen only once they are finished and appended"]
pub struct Staging {
    storage: Storage,
    folder: Folder,
    rows: Vec<RecordBatch>,
    bytes: usize,
    encoding: Option<JoinHandle<Result<Vec<Part>>>>,
    files: Vec<Add>,
}

/// Rows of one partition, as a file.
type Part = (Arc<str>, Encoded);

impl Staging {
    pub(crate) fn new(storage: Storage, dataset: &'static Dataset) -> Self {
        let root = folder::table_root(storage.tenant(), dataset);
        let folder = Folder { dataset, store: storage.store(), root };
        Self { storage, folder, rows: Vec::new(), bytes: 0, encoding: None, files: Vec::new() }
    }

    /// The dataset that the rows are of.
    #[must_use]
    pub fn dataset(&self) -> &'static Dataset {
        self.folder.dataset
    }

    /// Adds rows, whose schema is [`Dataset::schema`]. Returns when there is room for more.
    ///
    /// # Errors
    /// `Internal` if the rows are not of the dataset.
    pub async fn push(&mut self, rows: RecordBatch) -> Result<()> {
        self.bytes += rows.get_array_memory_size();
        self.rows.push(rows);
        if self.bytes >= BUFFER_BYTES { self.encode().await } else { Ok(()) }
    }

    /// The files as a replacement of all rows of `scope`.
    ///
    /// # Errors
    /// `Invalid` if a row is of another scope.
    pub async fn finish(mut self, scope: &str) -> Result<Replacement> {
        self.encode().await?;
        self.put().await?;
        let column = self.folder.dataset.partition_columns().next().unwrap_or_default();
        let of_scope = |file: &&Add| file.partition_values.get(column).is_some_and(|v| v.as_deref() == Some(scope));
        if let Some(other) = self.files.iter().find(|file| !of_scope(file)) {
            let found = other.partition_values.get(column);
            let message = format!("rows lie outside the replaced scope, scope={scope:?} found={found:?}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(Replacement { scope: scope.into(), files: self.files.into() })
    }

    /// Begins to encode what has gathered, once what was encoded before is put.
    async fn encode(&mut self) -> Result<()> {
        self.put().await?;
        let (dataset, rows) = (self.folder.dataset, mem::take(&mut self.rows));
        self.bytes = 0;
        if !rows.is_empty() {
            self.encoding = Some(tokio::task::spawn_blocking(move || encoded(dataset, rows)));
        }
        Ok(())
    }

    async fn put(&mut self) -> Result<()> {
        let Some(encoding) = self.encoding.take() else { return Ok(()) };
        let defect = |error| Error::new(ErrorKind::Internal, "a storage job panicked").caused_by(error);
        // The commit numbers its rows.
        let kind = Kind { lane: Lane::InOrder, seq: 0, level: 0, trimmed: None };
        for (partition, encoded) in encoding.await.map_err(defect)?? {
            self.files.push(self.folder.put(Some(&partition), kind, &encoded, self.storage.env()).await);
        }
        self.storage.env().probe.reach("staged_put");
        Ok(())
    }
}

fn encoded(dataset: &'static Dataset, rows: Vec<RecordBatch>) -> Result<Vec<Part>> {
    let mut files = Vec::new();
    sort_into_partitions(dataset, &rows.iter().collect::<Vec<_>>(), Equal::Keep, &mut |partition, rows| {
        let partition = partition.ok_or_else(|| {
            let message = format!("only partitions can be replaced, dataset={}", dataset.name);
            Error::new(ErrorKind::Internal, message)
        })?;
        files.push((partition, parquet_file::encode(dataset, rows)?));
        Ok(())
    })?;
    Ok(files)
}

#[cfg(test)]
mod tests;
