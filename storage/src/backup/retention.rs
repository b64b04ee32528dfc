//! Deletes backups that the schedule does not keep, and then files that no backup names.
//!
//! Another backup may be under way: what it has copied is named by no manifest yet, and what it need not copy by one of before. So files
//! stay for a day, and so do all backups. While a manifest is damaged, nobody knows what it names, and all files stay.

use std::{collections::HashSet, path::Path as Folder};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, path::Path};

use super::{Backup, Backups, Keep, Manifest, manifest};
use crate::{Result, store::local};

/// How long files stay that no manifest names, and backups that the schedule does not keep. No backup takes longer, or it copies anew
/// what went.
const RECENT_MS: i64 = 86_400_000;

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups.
    pub backups: usize,
    /// Files that no other backup names.
    pub files: usize,
    /// Their size, bytes.
    pub bytes: u64,
    /// Manifests that are damaged: until they are gone, no file is deleted.
    pub damaged: Vec<String>,
}

impl Backups {
    /// Deletes what the schedule does not keep and what is older than a day. A manifest that is damaged is told of.
    ///
    /// # Errors
    /// `Unavailable` if the place does not answer.
    pub async fn prune(&self, keep: &Keep) -> Result<Pruned> {
        let found = self.list().await?;
        let before_ms = self.env.clock.now_ms() - RECENT_MS;
        let newest = found.first().map(|newest| newest.sequence);
        let whole = || found.iter().filter(|found| found.manifest.is_some());
        let stay = keep.pick(&whole().map(|found| found.taken_ms).collect::<Vec<_>>());
        let goes = |found: &&Backup| {
            found.taken_ms < before_ms && Some(found.sequence) != newest && !stay.contains(&found.taken_ms)
        };
        let going: Vec<Path> = whole().filter(goes).map(|found| found.path.clone()).collect();
        let mut pruned = Pruned { backups: going.len(), ..Pruned::default() };
        // Manifests first: what is killed in between leaves files without a backup, and no backup without its files.
        self.delete(going).await?;
        let mut old = Vec::new();
        for folder in [manifest::DATA, manifest::LOG, manifest::OTHERS] {
            let mut objects = self.store.list(Some(&Path::from(folder)));
            while let Some(object) = objects.try_next().await? {
                old.extend((object.last_modified.timestamp_millis() < before_ms).then_some(object));
            }
        }
        // Read once more, as another backup may have ended since.
        let left = self.list().await?;
        let damaged = left.iter().filter(|left| left.manifest.is_none());
        pruned.damaged = damaged.map(|left| left.path.to_string()).collect();
        if pruned.damaged.is_empty() {
            let manifests = left.iter().filter_map(|left| left.manifest.as_ref());
            let named: HashSet<&str> = manifests.flat_map(Manifest::kept).map(|kept| kept.object.as_str()).collect();
            old.retain(|object| !named.contains(object.location.as_ref()));
            pruned.files = old.len();
            pruned.bytes = old.iter().map(|object| object.size).sum();
            self.delete(old.into_iter().map(|object| object.location).collect()).await?;
        }
        if let Some(folder) = self.folder.as_deref() {
            delete_staged(folder, before_ms);
        }
        Ok(pruned)
    }

    /// Deletes objects. One that is gone already is as good.
    pub(super) async fn delete(&self, paths: Vec<Path>) -> Result<()> {
        let mut deleted = self.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Deletes what backups that were killed have left half written.
fn delete_staged(folder: &Folder, before_ms: i64) {
    if let Err(error) = local::delete_staged(folder, before_ms) {
        // They take room, and hurt nothing.
        tracing::warn!(%error, folder = %folder.display(), "half written files cannot be deleted");
    }
}
