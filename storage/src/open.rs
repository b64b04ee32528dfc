//! Opens storage, hands out appends and views, and closes it in order.
//!
//! Called by the composition root; hands records to the log and views to readers.

use std::{path::PathBuf, sync::Arc};

use object_store::ObjectStore;
use prometheus::Registry;
use schemas::Dataset;

use crate::{Batch, Env, Replace, Result, View};

/// Settings of storage.
#[derive(Debug, Clone)]
pub struct Config {
    /// Folder for the log and, unless `root` is given, the tables.
    pub data_dir: PathBuf,
    /// Tenant whose tables are kept.
    pub tenant: String,
    /// Bytes of head rows of one dataset at which they are committed.
    pub flush_bytes: usize,
    /// Age of the oldest head row at which it is committed, milliseconds.
    pub flush_age_ms: i64,
    /// Bytes that appended rows may take in queues and heads together; appends beyond are refused.
    pub head_bytes_max: usize,
    /// Size of a log segment, bytes.
    pub wal_segment_bytes: u64,
}

/// The open storage of a process. Cheap to clone.
#[derive(Clone)]
pub struct Storage {}

/// Room reserved for an append, in bytes.
#[derive(Debug)]
pub struct Room {}

/// Resolves when an append is durable and visible.
#[derive(Debug)]
#[must_use = "an append is not durable before its ack resolves"]
pub struct Ack {}

impl Storage {
    /// Opens the data folder, recovers the log into the heads, and starts the writers of `datasets`.
    ///
    /// # Errors
    /// `Fenced` if another process has the folder, `Corrupt` if the log or a table is damaged.
    pub async fn open(
        _config: Config,
        _datasets: Vec<&'static Dataset>,
        _env: Env,
        _registry: &Registry,
    ) -> Result<Self> {
        unimplemented!()
    }

    /// Reserves room for an append of about `bytes`; waits a moment for it.
    ///
    /// # Errors
    /// `Overloaded` if there is none, `Unavailable` or `Fenced` if storage takes no writes.
    pub async fn reserve(&self, _bytes: usize) -> Result<Room> {
        unimplemented!()
    }

    /// Hands batches to the log as one record: all of them become durable and visible, or none. Does not block, so the
    /// caller may hold the lock that ordered the batches. An append without rows is a barrier: its ack resolves when
    /// everything appended before it is durable and visible.
    pub fn append(&self, _room: Room, _batches: Vec<Batch>) -> Ack {
        unimplemented!()
    }

    /// Replaces the rows of one partition value. Returns when committed.
    ///
    /// # Errors
    /// `Invalid` if the rows are not of the scope.
    pub async fn replace(&self, _replace: Replace) -> Result<()> {
        unimplemented!()
    }

    /// The newest view of a dataset.
    #[must_use]
    pub fn view(&self, _dataset: &'static Dataset) -> Arc<View> {
        unimplemented!()
    }

    /// The store that holds the files of views.
    #[must_use]
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        unimplemented!()
    }

    /// Commits all head rows; returns when they are in files.
    ///
    /// # Errors
    /// Those of the commits.
    pub async fn flush(&self) -> Result<()> {
        unimplemented!()
    }

    /// Why writes are refused, if they are.
    ///
    /// # Errors
    /// The state that refuses writes.
    pub fn healthy(&self) -> Result<()> {
        unimplemented!()
    }

    /// Drains, commits and closes. Appends after this are refused.
    ///
    /// # Errors
    /// Those of the last commits; what is not committed stays in the log.
    pub async fn close(&self) -> Result<()> {
        unimplemented!()
    }
}

impl Ack {
    /// Waits until the append is durable and visible.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn done(self) -> Result<()> {
        unimplemented!()
    }
}

/// A read-only look at a data folder, whether or not a server runs on it: tables and the log's tail, nothing changed.
/// Gives the store and one view per dataset.
///
/// # Errors
/// `Invalid` if the folder is not a data folder, `Corrupt` if it is damaged.
pub async fn open_read_only(
    _config: Config,
    _datasets: Vec<&'static Dataset>,
) -> Result<(Arc<dyn ObjectStore>, Vec<Arc<View>>)> {
    unimplemented!()
}
