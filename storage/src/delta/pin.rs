//! A table's newest state as one checkpoint, taken to another place.
//!
//! Called by backups: what is pinned names active files only, so that a copy of those is all of the table. It is the same bytes
//! whenever it is made of the same version.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use super::{LastCheckpoint, Table, checkpoint, internal};
use crate::Result;

impl Table {
    /// The checkpoint that holds this version without what was removed before it.
    pub(crate) fn pinned(&self) -> Result<Vec<u8>> {
        checkpoint::write(&self.standing())
    }

    /// Makes a table of a checkpoint, where there is none. Its files have to be there already.
    pub(crate) async fn place(store: &Arc<dyn ObjectStore>, root: &Path, version: i64, pinned: Bytes) -> Result<()> {
        let size = checkpoint::read(pinned.clone())?.len();
        let last = LastCheckpoint { version, size, crc32c: Some(crc32c::crc32c(&pinned)) };
        let text = serde_json::to_vec(&last).map_err(|error| internal("a checkpoint cannot be encoded", error))?;
        let path = |name: &str| Path::from(format!("{root}/_delta_log/{name}"));
        store.put(&path(&format!("{version:020}.checkpoint.parquet")), pinned.into()).await?;
        store.put(&path("_last_checkpoint"), text.into()).await?;
        Ok(())
    }
}
