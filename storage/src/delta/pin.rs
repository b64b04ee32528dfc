//! A table's newest state as one checkpoint, taken to another place.
//!
//! Called by backups: what is pinned names active files only, so that a copy of those is all of the table. It is the same bytes
//! whenever it is made of the same version.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use schemas::Dataset;

use super::{LastCheckpoint, Line, Table, checkpoint, internal};
use crate::Result;

/// A table as it was pinned, of which nothing is written yet.
pub(crate) struct Placing {
    root: Path,
    version: i64,
    lines: Vec<Line>,
}

impl Table {
    /// Its identity, which no other table has.
    pub(crate) fn id(&self) -> &str {
        self.preamble.iter().find_map(|line| line.meta_data.as_ref()).map_or("", |meta_data| &meta_data.id)
    }

    /// The checkpoint that holds this version without what was removed before it.
    pub(crate) fn pinned(&self) -> Result<Vec<u8>> {
        checkpoint::write(&self.standing())
    }

    /// Reads what was pinned.
    ///
    /// # Errors
    /// `Corrupt` if it is no checkpoint or has other columns than the dataset, `Invalid` if its form is another.
    pub(crate) fn unpin(
        (store, root): (Arc<dyn ObjectStore>, Path),
        dataset: &'static Dataset,
        version: i64,
        pinned: Bytes,
    ) -> Result<(Self, Placing)> {
        let lines = checkpoint::read(pinned)?;
        let mut table = Self::empty(store, root.clone(), dataset);
        for line in lines.clone() {
            table.apply(line, version)?;
        }
        table.version = Some(version);
        table.check_format()?;
        Ok((table, Placing { root, version, lines }))
    }
}

impl Placing {
    /// Gives the positions of one source to another.
    pub(crate) fn rename_source(&mut self, from: &str, to: &str) {
        for txn in self.lines.iter_mut().filter_map(|line| line.txn.as_mut()).filter(|txn| txn.app_id == from) {
            to.clone_into(&mut txn.app_id);
        }
    }

    /// Leaves files out.
    pub(crate) fn leave_out(&mut self, lost: impl Fn(&str) -> bool) {
        let root = &self.root;
        self.lines.retain(|line| line.add.as_ref().is_none_or(|add| !lost(&format!("{root}/{}", add.path))));
    }

    /// Makes the table, where there is none. Its files have to be there already.
    pub(crate) async fn put(self, store: &Arc<dyn ObjectStore>) -> Result<()> {
        let Self { root, version, lines } = self;
        let pinned = checkpoint::write(&lines)?;
        let last = LastCheckpoint { version, size: lines.len(), crc32c: Some(crc32c::crc32c(&pinned)) };
        let text = serde_json::to_vec(&last).map_err(|error| internal("a checkpoint cannot be encoded", error))?;
        let path = |name: &str| Path::from(format!("{root}/_delta_log/{name}"));
        store.put(&path(&format!("{version:020}.checkpoint.parquet")), pinned.into()).await?;
        store.put(&path("_last_checkpoint"), text.into()).await?;
        Ok(())
    }
}
