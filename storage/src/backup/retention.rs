//! Deletes backups that the schedule does not keep, and then files that no backup names.
//!
//! A file that no manifest names may be of a backup that is being taken, so it stays for a day.

use std::collections::{BTreeSet, HashSet};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, path::Path};

use super::{Backups, Keep, Kept, manifest};
use crate::Result;

/// How long files stay that no manifest names. No backup takes longer, or it copies anew what went.
const UNNAMED_MS: i64 = 86_400_000;

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups.
    pub backups: usize,
    /// Files that no other backup names.
    pub files: usize,
    /// Their size, bytes.
    pub bytes: u64,
    /// Manifests that are damaged.
    pub damaged: Vec<String>,
}

impl Backups {
    /// Deletes what the schedule does not keep. A manifest that is damaged is told of and stays, but keeps no file.
    ///
    /// # Errors
    /// `Unavailable` if the place does not answer.
    pub async fn prune(&self, keep: &Keep) -> Result<Pruned> {
        let found = self.list().await?;
        let damaged = found.iter().filter(|found| found.manifest.is_none());
        let damaged = damaged.map(|found| found.path.to_string()).collect();
        let taken: Vec<i64> =
            found.iter().filter(|found| found.manifest.is_some()).map(|found| found.taken_ms).collect();
        let stay: BTreeSet<i64> = keep.pick(&taken);
        let mut named: HashSet<String> = HashSet::new();
        let mut going = Vec::new();
        for found in found {
            let Some(manifest) = found.manifest else { continue };
            if stay.contains(&found.taken_ms) {
                named.extend(manifest.kept().map(|Kept { object, .. }| object.clone()));
            } else {
                going.push(found.path);
            }
        }
        let mut pruned = Pruned { backups: going.len(), damaged, ..Pruned::default() };
        // Manifests first: what is killed in between leaves files without a backup, and no backup without its files.
        self.delete(going).await?;
        let before_ms = self.env.clock.now_ms() - UNNAMED_MS;
        let mut unnamed = Vec::new();
        for folder in [manifest::DATA, manifest::LOG, manifest::OTHERS] {
            let mut objects = self.store.list(Some(&Path::from(folder)));
            while let Some(object) = objects.try_next().await? {
                let old = object.last_modified.timestamp_millis() < before_ms;
                if old && !named.contains(object.location.as_ref()) {
                    pruned.files += 1;
                    pruned.bytes += object.size;
                    unnamed.push(object.location);
                }
            }
        }
        self.delete(unnamed).await?;
        Ok(pruned)
    }

    /// Deletes objects. One that is gone already is as good.
    async fn delete(&self, paths: Vec<Path>) -> Result<()> {
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
