//! Opens the spools of a process, root by root, and refuses what waits for a bucket that is not theirs.
//!
//! Called when the store opens. Reads the folder first: commits that wait are part of the tables that are loaded next.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
};

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};
use prometheus::Registry;

use super::{
    Role, Settings, Spool, Spools, Writer,
    kept::{self, Bounds, Entry, Kept, Metrics},
    upload::foreign,
};
use crate::{Env, Error, ErrorKind, Result, Root, disk::Disk, error::Failure, store::blocks::Blocks};

/// Who opens: a server, or somebody who reads beside it.
#[derive(Clone)]
pub(crate) enum Side {
    /// Writes and uploads; says so when it can do neither any more.
    Writer(Arc<dyn Disk>, Arc<Failure>),
    /// Reads what is there.
    Reader,
}

/// Spools as they are opened.
pub(crate) struct Opening {
    found: BTreeMap<String, Vec<Entry>>,
    by_root: BTreeMap<String, usize>,
    spools: Spools,
    writer: Option<(Arc<Kept>, Settings, Arc<Failure>)>,
    folder: PathBuf,
    env: Env,
}

impl Opening {
    /// Reads the folder of spools. `blocks` give way to them on a disk that runs full.
    pub(crate) fn new(
        (folder, blocks): (PathBuf, Option<Arc<Blocks>>),
        side: Side,
        settings: Settings,
        env: &Env,
        registry: &Registry,
    ) -> Result<Self> {
        let (entries, writer) = match side {
            Side::Reader => (kept::scan(&folder)?, None),
            Side::Writer(disk, failure) => {
                let metrics = Metrics::register(registry).map_err(|error| {
                    Error::new(ErrorKind::Internal, "metrics cannot be registered").caused_by(error)
                })?;
                let bounds = Bounds { bytes_max: settings.bytes_max, free_bytes_min: settings.free_bytes_min };
                let place = (folder.clone(), blocks);
                let (kept, entries) = Kept::open(place, disk, bounds, env.clock.clone(), metrics)?;
                (entries, Some((Arc::new(kept), settings, failure)))
            }
        };
        let mut found = BTreeMap::<String, Vec<Entry>>::new();
        for entry in entries {
            found.entry(entry.root.clone()).or_default().push(entry);
        }
        let (spools, env) = (Spools::default(), env.clone());
        Ok(Self { found, by_root: BTreeMap::new(), spools, writer, folder, env })
    }

    /// The spool of a root; of two datasets in one root it is one. `stores`: the bucket as readers ask it, and as puts do.
    pub(crate) async fn root(
        &mut self,
        root: &str,
        (bucket, puts): (Arc<dyn ObjectStore>, Arc<dyn ObjectStore>),
    ) -> Result<Spool> {
        if let Some(spool) = self.by_root.get(root).and_then(|at| self.spools.spools.get(*at)) {
            return Ok(spool.clone());
        }
        let entries = self.found.remove(root).unwrap_or_default();
        let role = match &self.writer {
            None => Role::Reader(self.folder.clone()),
            Some((kept, settings, failure)) => {
                kept.metrics.begin(root);
                entries.iter().for_each(|entry| kept.metrics.came(entry));
                Role::Writer(Writer {
                    kept: Arc::clone(kept),
                    settings: *settings,
                    begins: AtomicBool::new(false),
                    failure: Arc::clone(failure),
                    probe: self.env.probe.clone(),
                })
            }
        };
        let count = entries.len();
        let spool = Spool::new(root, (bucket, puts), role, entries);
        if count > 0 && self.writer.is_some() {
            tracing::warn!(root, objects = count, "what an outage left on the local disk is uploaded first");
            check(&spool).await?;
        }
        self.by_root.insert(root.to_owned(), self.spools.spools.len());
        self.spools.spools.push(spool.clone());
        Ok(spool)
    }

    /// The spools, by the datasets that have a root of their own. Refuses what waits for other roots.
    pub(crate) fn finish<'a>(
        self,
        rest: &Root,
        datasets: impl Iterator<Item = (&'a String, &'a Root)>,
    ) -> Result<Spools> {
        if let Some((root, entries)) = self.found.first_key_value() {
            let message = format!(
                "what an outage left on the local disk waits for a bucket that the settings do not name: name it (`data`, \
                 `roots`), root={root} objects={} path={}",
                entries.len(),
                self.folder.display()
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let at = |root: &Root| self.by_root.get(&root.to_string()).copied();
        let by_dataset = datasets.map(|(dataset, root)| (dataset.clone(), at(root))).collect();
        let rest = at(rest);
        Ok(Spools { by_dataset, rest, ..self.spools })
    }

    /// The spool of all datasets, over any store.
    pub(crate) async fn one(mut self, store: Arc<dyn ObjectStore>) -> Result<(Spool, Spools)> {
        let spool = self.root(&Root::Folder.to_string(), (Arc::clone(&store), store)).await?;
        Ok((spool, self.finish(&Root::Folder, std::iter::empty())?))
    }
}

/// Refuses to go on if another process has committed since: tables would be read as neither of the two has written them.
///
/// What must not overwrite lies in order in its folder (the log of a table), so the first that is not in the bucket settles it,
/// if nothing after it is.
async fn check(spool: &Spool) -> Result<()> {
    let entries: Vec<_> = spool.inner.waiting.lock().entries.values().cloned().collect();
    let failed = |error: object_store::Error| {
        let message = format!("bucket cannot be read, root={}", spool.inner.root);
        Error::new(ErrorKind::Unavailable, message).caused_by(error)
    };
    let mut settled: Vec<object_store::path::Path> = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry.create) {
        if settled.iter().any(|folder| entry.path.prefix_matches(folder)) {
            continue;
        }
        match spool.inner.bucket.get(&entry.path).await {
            Ok(found) => {
                let waits = kept::read_whole(spool.inner.folder(), &entry)?;
                if found.bytes().await.map_err(failed)? != waits {
                    return Err(foreign(spool, &entry));
                }
            }
            Err(object_store::Error::NotFound { .. }) => {
                let parts = entry.path.parts().count().saturating_sub(1);
                let folder = object_store::path::Path::from_iter(entry.path.parts().take(parts));
                let mut later = spool.inner.bucket.list_with_offset(Some(&folder), &entry.path);
                while let Some(meta) = later.try_next().await.map_err(failed)? {
                    if meta.location.filename().is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit())) {
                        return Err(foreign(spool, &entry));
                    }
                }
                settled.push(folder);
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}
