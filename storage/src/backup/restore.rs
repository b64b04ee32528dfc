//! Makes a data folder of the newest backup that is whole: data files first, each with its checksum, then the log, then the logs of the
//! tables.
//!
//! A backup of which a file is missing or damaged is passed over for the one before, and what was wrong is told. Logs of tables are read
//! before anything is written, so that a version of the program that does not know them writes nothing. The folder says that it is being
//! restored until all of it is there, and no server opens it before. A restore that fails takes back what it wrote.
//!
//! The log gets a new identity, and its positions in the tables with it: a node that was lost and is found again has the old one, and
//! must not take rows of the new one for its own.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::async_reader::AsyncFileReader;
use schemas::Dataset;

use super::{
    Backups, Copied, FILES_AT_ONCE, Kept, Manifest, TableCopy, Target, check_room,
    copy::{Copying, Failed},
    lacks, path,
};
use crate::{
    Error, ErrorKind, Result, StoredFile,
    checked::CheckedStore,
    delta::{Table, pin::Placing},
    disk::LocalDisk,
    folder::{self, table_root},
    wal,
};

/// What was restored, or could be.
#[derive(Debug)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
    /// Newer ones that are not whole.
    pub passed: Vec<Passed>,
    /// Data files that are missing or damaged and were left out, because that was asked for; empty if it is whole.
    pub left_out: Vec<String>,
}

/// A backup that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// When it was taken, milliseconds.
    pub taken_ms: i64,
    /// What is missing or damaged.
    pub why: String,
}

/// How a backup is restored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    /// The newest backup that was taken then or before, milliseconds; of all if there is none.
    pub at_ms: Option<i64>,
    /// Read back all that was written.
    pub thorough: bool,
    /// Take the newest of which the logs are whole, and leave out data files that are not: a last resort.
    pub leave_out: bool,
}

/// Objects that were read, and written if they have a place among the tables.
type Done = HashSet<String>;

/// A table of a backup, and its log.
type Tables<'a> = Vec<(&'a TableCopy, &'static Dataset, Placing)>;

/// What is wanted of a backup, and where to.
#[derive(Clone, Copy)]
struct Order<'a> {
    wish: Wish,
    target: Option<&'a Target>,
    datasets: &'a [&'static Dataset],
    watch: &'a dyn Fn(Copied),
}

impl Backups {
    /// Reads all of the newest backup that is whole, and writes nothing.
    ///
    /// # Errors
    /// `Corrupt` if there is none, `Unavailable` if the place does not answer, `Invalid` if this version of the program does not know
    /// one of its tables.
    pub async fn verify(
        &self,
        at_ms: Option<i64>,
        datasets: &[&'static Dataset],
        watch: &dyn Fn(Copied),
    ) -> Result<Restored> {
        self.newest_whole(Order { wish: Wish { at_ms, ..Wish::default() }, target: None, datasets, watch }).await
    }

    /// Makes a data folder of that backup in an empty place, and looks at each table: its version, its files, its rows.
    ///
    /// # Errors
    /// As [`verify`](Self::verify); then nothing is left in the place.
    pub async fn restore(
        &self,
        wish: Wish,
        (target, datasets): (&Target, &[&'static Dataset]),
        watch: &dyn Fn(Copied),
    ) -> Result<Restored> {
        let log = self.env.random.bits();
        let say = |restoring: bool| {
            folder::write_restored(&target.data_dir, &LocalDisk, log, restoring).map_err(|error| {
                let message = format!("data folder cannot be written, path={}", target.data_dir.display());
                Error::new(ErrorKind::Unavailable, message).caused_by(error)
            })
        };
        say(true)?;
        let restored = async {
            let restored = self.newest_whole(Order { wish, target: Some(target), datasets, watch }).await?;
            self.write((&restored, wish), target, (log, datasets)).await?;
            Ok(restored)
        };
        match restored.await {
            Ok(restored) => {
                say(false)?;
                Ok(restored)
            }
            Err(error) => {
                if let Err(error) = take_back(target).await {
                    tracing::error!(error = %error.chain(), "what was written cannot be deleted: empty the place by hand");
                }
                Err(error)
            }
        }
    }

    /// Writes what comes after the data files.
    async fn write(
        &self,
        (restored, wish): (&Restored, Wish),
        target: &Target,
        (log, datasets): (u128, &[&'static Dataset]),
    ) -> Result<()> {
        let Restored { manifest, left_out, .. } = restored;
        let lost: HashSet<&str> = left_out.iter().map(String::as_str).collect();
        let is_there = |kept: &&Kept| !lost.contains(kept.path.as_str());
        let data: HashSet<&str> = manifest.data().filter(is_there).map(|kept| kept.path.as_str()).collect();
        // The place was empty: what is not of this backup is of those that were passed over.
        delete(&target.tables, |path| !data.contains(path.as_ref())).await?;
        // A log is whole or of no use.
        let copied =
            manifest.log.as_ref().filter(|log| log.segments.iter().chain(&log.staged).all(|kept| is_there(&kept)));
        let segments = copied.map_or(&[][..], |log| &log.segments);
        let beside: Vec<&Kept> = manifest.others.iter().filter(is_there).chain(segments).collect();
        let fetches = beside.into_iter().map(|kept| self.fetch(kept, Some(&target.folder)));
        let mut fetches = stream::iter(fetches).buffer_unordered(FILES_AT_ONCE);
        while let Some(fetched) = fetches.next().await {
            fetched.map_err(Failed::told)?;
        }
        for segment in segments {
            wal::adopt(&target.data_dir.join(&segment.path), log, &LocalDisk)?;
        }
        for (copy, dataset, mut placing) in self.tables(manifest, datasets).await.map_err(Failed::told)? {
            if let Some(copied) = copied {
                placing.rename_source(&copied.source, &folder::source_of(log));
            }
            placing.leave_out(|path| lost.contains(path));
            placing.put(&target.tables).await?;
            check(target, (&manifest.tenant, dataset), (copy, &lost), wish.thorough).await?;
        }
        Ok(())
    }

    /// Reads backups, the newest first, until one is whole; writes its data files if there is a target.
    async fn newest_whole(&self, order: Order<'_>) -> Result<Restored> {
        let (mut passed, mut done) = (Vec::new(), Done::new());
        let backups = self.list().await?;
        let sizes = self.all_sizes().await?;
        let at_ms = order.wish.at_ms;
        for backup in backups.into_iter().filter(|backup| at_ms.is_none_or(|at_ms| backup.taken_ms <= at_ms)) {
            let taken_ms = backup.taken_ms;
            let why = match backup.manifest {
                None => format!("{} is damaged", backup.path),
                Some(manifest) => match self.read(&manifest, order, &sizes, &mut done).await {
                    Ok(left_out) => return Ok(Restored { manifest, passed, left_out }),
                    Err(Failed::Gone(why)) => why,
                    Err(Failed::Store(error)) => return Err(error),
                },
            };
            tracing::warn!(taken_ms, why, "this backup is not whole; taking the one before");
            passed.push(Passed { taken_ms, why });
        }
        let newest = passed.first().map_or_else(|| "there is none".to_owned(), |passed| passed.why.clone());
        let message = format!(
            "no backup here is whole: {newest}; `restore --leave-out-damaged` restores what there is, place={} passed_over={}",
            self.place,
            passed.len()
        );
        Err(Error::new(ErrorKind::Corrupt, message))
    }

    /// Reads all files of a backup, and writes data files. Gives those that are missing or damaged, if that is no reason to stop.
    async fn read(
        &self,
        manifest: &Manifest,
        order: Order<'_>,
        sizes: &HashMap<String, u64>,
        done: &mut Done,
    ) -> Result<Vec<String>, Failed> {
        let Order { wish, target, datasets, watch } = order;
        if let Some(path) = manifest.misplaced() {
            return Err(Failed::Gone(format!("its manifest names a file where none belongs: {path}")));
        }
        if let Some(why) = lacks(manifest, sizes).filter(|_| !wish.leave_out) {
            return Err(Failed::Gone(why));
        }
        drop(self.tables(manifest, datasets).await?);
        let tables = target.map(|target| &target.tables);
        let data = manifest.data().map(|kept| (kept, tables));
        // Names of these are used again, so they are written when it is known whose they are.
        let beside = manifest.beside().map(|kept| (kept, None));
        let wanted: Vec<(&Kept, Option<&Arc<dyn ObjectStore>>)> =
            data.chain(beside).filter(|(kept, _)| !done.contains(&kept.object)).collect();
        let mut progress = Copied::of(wanted.iter().map(|(kept, _)| kept.size));
        let folder = target.filter(|target| target.inside).map(|target| target.data_dir.as_path());
        check_room(folder, progress.bytes.1)?;
        watch(progress);
        let reads = wanted.iter().map(|(kept, store)| async move { (*kept, self.fetch(kept, *store).await) });
        let mut reads = stream::iter(reads).buffer_unordered(FILES_AT_ONCE);
        let (mut failed, mut left_out) = (None, Vec::new());
        while let Some((kept, read)) = reads.next().await {
            match read {
                Ok(()) => _ = done.insert(kept.object.clone()),
                Err(Failed::Gone(why)) if wish.leave_out => {
                    tracing::error!(why, "this file is left out");
                    left_out.push(kept.path.clone());
                }
                // The others are read all the same: most of them are in the backup before, too.
                Err(Failed::Gone(why)) => failed = failed.or(Some(Failed::Gone(why))),
                Err(failed) => return Err(failed),
            }
            progress.done(kept.size);
            watch(progress);
        }
        failed.map_or(Ok(left_out), Err)
    }

    /// The tables of a backup, as their logs say they are.
    async fn tables<'a>(&self, manifest: &'a Manifest, datasets: &[&'static Dataset]) -> Result<Tables<'a>, Failed> {
        let mut tables = Vec::with_capacity(manifest.tables.len());
        for copy in &manifest.tables {
            let unknown = |what: &str| {
                let (dataset, version) = (&copy.dataset, &manifest.program);
                let message = format!(
                    "{what}: restore with the version that took the backup, dataset={dataset} version={version}"
                );
                Error::new(ErrorKind::Invalid, message)
            };
            let dataset = datasets.iter().copied().find(|dataset| dataset.name == copy.dataset);
            let dataset = dataset.ok_or_else(|| unknown("this version knows no such table"))?;
            let object = path(&copy.log.object)?;
            let Some(bytes) = self.find(&object).await? else {
                return Err(Failed::Gone(format!("{object} is missing")));
            };
            if crc32c::crc32c(&bytes) != copy.log.crc32c {
                return Err(damaged(&object));
            }
            let root = table_root(&manifest.tenant, dataset);
            // Its bytes are those that were written, so what is wrong with it is how this version reads it.
            let (table, placing) = Table::unpin((Arc::clone(&self.store), root), dataset, copy.version, bytes)
                .map_err(|error| unknown("this version has this table in another form").caused_by(error))?;
            let (files, kept) = (table.files(), copy.files.iter().map(|kept| kept.path.as_str()));
            if files.iter().map(|file| file.path.as_ref()).collect::<HashSet<_>>() != kept.collect() {
                return Err(Failed::Gone(format!("{object} has other files than the manifest says")));
            }
            tables.push((copy, dataset, placing));
        }
        Ok(tables)
    }

    /// Reads one file, and writes it if there is a store for it.
    async fn fetch(&self, kept: &Kept, store: Option<&Arc<dyn ObjectStore>>) -> Result<(), Failed> {
        let object = path(&kept.object)?;
        let from = Copying { store: self.store.as_ref(), path: &object, size: kept.size };
        let sum = match store {
            None => from.sum().await?,
            Some(store) => from.to(store.as_ref(), &path(&kept.path)?).await?,
        };
        if sum == kept.crc32c { Ok(()) } else { Err(damaged(&object)) }
    }
}

fn damaged(object: &Path) -> Failed {
    Failed::Gone(format!("{object} is damaged: its bytes are not those that were written"))
}

/// Deletes files of a store.
async fn delete(store: &Arc<dyn ObjectStore>, goes: impl Fn(&Path) -> bool) -> Result<()> {
    let mut going = Vec::new();
    let mut objects = store.list(None);
    while let Some(object) = objects.try_next().await? {
        going.extend(goes(&object.location).then_some(object.location));
    }
    store.delete_stream(stream::iter(going.into_iter().map(Ok)).boxed()).try_collect::<Vec<_>>().await?;
    Ok(())
}

/// Deletes all that a restore has written; what says that it is under way goes last.
async fn take_back(target: &Target) -> Result<()> {
    if !target.inside {
        delete(&target.tables, |_| true).await?;
    }
    let identity = Path::from(folder::IDENTITY);
    delete(&target.folder, |path| *path != identity).await?;
    target.folder.delete(&identity).await?;
    Ok(())
}

/// Is a restored table what was backed up?
async fn check(
    target: &Target,
    (tenant, dataset): (&str, &'static Dataset),
    (copy, lost): (&TableCopy, &HashSet<&str>),
    thorough: bool,
) -> Result<()> {
    let store: Arc<dyn ObjectStore> = Arc::new(CheckedStore::new(Arc::clone(&target.tables)));
    let table = Table::load(Arc::clone(&store), table_root(tenant, dataset), dataset).await?;
    let files = table.files();
    let wrong = |what: String| {
        let message = format!("the restored table is not what was backed up: {what}, dataset={}", dataset.name);
        Err(Error::new(ErrorKind::Corrupt, message))
    };
    let kept: Vec<&Kept> = copy.files.iter().filter(|kept| !lost.contains(kept.path.as_str())).collect();
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    let whole = kept.len() == copy.files.len();
    if (table.version, files.len()) != (Some(copy.version), kept.len()) || (whole && rows != copy.rows) {
        return wrong(format!("version={:?} files={} rows={rows}", table.version, files.len()));
    }
    if !thorough {
        return Ok(());
    }
    let sums: HashMap<&str, u32> = kept.iter().map(|kept| (kept.path.as_str(), kept.crc32c)).collect();
    let store = &store;
    let reads = files.iter().map(|file| async move {
        let written = Copying { store: store.as_ref(), path: &file.path, size: file.size };
        let sum = written.sum().await.map_err(Failed::told)?;
        let footer = StoredFile::new(Arc::clone(store), file).get_metadata(None).await?;
        Ok::<_, Error>((file, sum, u64::try_from(footer.file_metadata().num_rows()).unwrap_or_default()))
    });
    let mut reads = stream::iter(reads).buffer_unordered(FILES_AT_ONCE);
    while let Some(read) = reads.next().await {
        let (file, sum, rows) = read?;
        if sums.get(file.path.as_ref()) != Some(&sum) || rows != file.rows {
            return wrong(format!("path={} rows={rows} rows_expected={}", file.path, file.rows));
        }
    }
    Ok(())
}
