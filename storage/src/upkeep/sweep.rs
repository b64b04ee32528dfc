//! Deletes what nothing reads: files that a commit removed, files that no commit ever named, and old entries of the log.
//!
//! Called by upkeep, seldom. A file that a commit removed goes when that is an hour ago and no view of this process holds it:
//! another process may read the tables, too, and an hour is longer than it may take for a question. A file that no commit named may
//! be of a commit under way, or of a crash; after a day it is of a crash. The log before a checkpoint is kept for a day.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, path::Path};

use crate::{Result, Storage, commit::Folder, writer::Message};

/// How long removed files are kept.
const REMOVED_MS: i64 = 3_600_000;
/// How long files are kept that no commit names, and entries of the log that a checkpoint holds.
const UNNAMED_MS: i64 = 86_400_000;

/// Sweeps one table; gives the number of data files deleted.
pub(super) async fn table(storage: &Storage, folder: &Folder) -> Result<u64> {
    let now_ms = storage.env().clock.now_ms();
    let name = folder.dataset.name;
    let garbage = storage.ask(name, |answer| Message::Garbage(now_ms - REMOVED_MS, answer)).await?;
    let mut deleted = garbage.len() as u64;
    storage.env().probe.reach("before_delete");
    delete(folder, garbage.clone()).await?;
    storage.env().probe.reach("deleted");
    storage.tell(name, Message::Forget(garbage)).await?;

    let old = |object: &ObjectMeta| object.last_modified.timestamp_millis() < now_ms - UNNAMED_MS;
    let (mut files, mut log) = (Vec::new(), Vec::new());
    let mut objects = folder.store.list(Some(&folder.root));
    while let Some(object) = objects.try_next().await? {
        let path =
            object.location.as_ref().strip_prefix(folder.root.as_ref()).unwrap_or_default().trim_start_matches('/');
        match path.strip_prefix("_delta_log/") {
            Some(entry) => log.push((entry.to_owned(), old(&object))),
            None if path.ends_with(".parquet") && old(&object) => files.push(path.to_owned()),
            None => {}
        }
    }
    if !files.is_empty() {
        let unknown = storage.ask(name, |answer| Message::Unknown(files, answer)).await?;
        deleted += unknown.len() as u64;
        delete(folder, unknown).await?;
    }
    let entries = expired(&log).into_iter().map(|entry| format!("_delta_log/{entry}")).collect();
    delete(folder, entries).await?;
    Ok(deleted)
}

/// Entries of a log that readers no longer need: old ones that an old checkpoint holds.
fn expired(log: &[(String, bool)]) -> Vec<String> {
    let checkpoint = |name: &str| name.strip_suffix(".checkpoint.parquet").and_then(|n| n.parse::<i64>().ok());
    let commit = |name: &str| name.strip_suffix(".json").and_then(|n| n.parse::<i64>().ok());
    // The newest old one: whoever began to read before the next was written finds what it needs.
    let Some(kept) = log.iter().filter(|(_, old)| *old).filter_map(|(name, _)| checkpoint(name)).max() else {
        return Vec::new();
    };
    let gone = |name: &str| checkpoint(name).or_else(|| commit(name)).is_some_and(|version| version < kept);
    log.iter().filter(|(name, old)| *old && gone(name)).map(|(name, _)| name.clone()).collect()
}

/// Deletes files of a table by their log paths. One that is gone already is as good.
pub(super) async fn delete(folder: &Folder, log_paths: Vec<String>) -> Result<()> {
    let paths: BTreeSet<Path> = log_paths.iter().map(|path| folder.location(path)).collect();
    let mut deleted = folder.store.delete_stream(stream::iter(paths.into_iter().map(Ok)).boxed());
    while let Some(result) = deleted.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
