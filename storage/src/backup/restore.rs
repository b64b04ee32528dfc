//! Makes tables of the newest backup that is whole: data files first, each with its checksum, then the logs.
//!
//! A backup of which a file is missing or damaged is passed over for the one before, and what was wrong is told. What was written of it
//! until that showed serves the next one or is deleted: no table shows before its log is there, and that is written last.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;
use parquet::arrow::async_reader::AsyncFileReader;
use schemas::Dataset;

use super::{
    Backups, Copied, FILES_AT_ONCE, Kept, Manifest, TableCopy, Target,
    copy::{Copying, Failed},
    lacks, path,
};
use crate::{Error, ErrorKind, Result, StoredFile, checked::CheckedStore, delta::Table, folder::table_root};

/// What was restored, or could be.
#[derive(Debug)]
pub struct Restored {
    /// The backup.
    pub manifest: Manifest,
    /// Newer ones that are not whole.
    pub passed: Vec<Passed>,
}

/// A backup that was passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// When it was taken, milliseconds.
    pub taken_ms: i64,
    /// What is missing or damaged.
    pub why: String,
}

/// Objects that were read, and written if they have a place among the tables.
type Done = HashSet<String>;

impl Backups {
    /// Reads all of the newest backup that was taken at `at_ms` or before and is whole, and writes nothing.
    ///
    /// # Errors
    /// `Corrupt` if there is none, `Unavailable` if the place does not answer.
    pub async fn verify(&self, at_ms: Option<i64>, watch: &dyn Fn(Copied)) -> Result<Restored> {
        self.newest_whole(at_ms, None, watch).await
    }

    /// Makes tables of that backup in an empty place, and looks at each: its version, its files, its rows. With `thorough`, all that was
    /// written is read back.
    ///
    /// # Errors
    /// As [`verify`](Self::verify); `Invalid` if this version of the program does not know one of the tables.
    pub async fn restore(
        &self,
        at_ms: Option<i64>,
        (target, datasets): (&Target, &[&'static Dataset]),
        thorough: bool,
        watch: &dyn Fn(Copied),
    ) -> Result<Restored> {
        let restored = self.newest_whole(at_ms, Some(target), watch).await?;
        let manifest = &restored.manifest;
        let mut tables = Vec::with_capacity(manifest.tables.len());
        for table in &manifest.tables {
            let dataset = datasets.iter().find(|dataset| dataset.name == table.dataset).ok_or_else(|| {
                let message = format!(
                    "this version knows no such table: restore with the one that took the backup, dataset={} version={}",
                    table.dataset, manifest.program
                );
                Error::new(ErrorKind::Invalid, message)
            })?;
            tables.push((table, *dataset));
        }
        delete_others(target, manifest).await?;
        if let Some(folder) = &target.folder {
            for kept in &manifest.others {
                self.fetch(kept, Some(folder)).await.map_err(Failed::told)?;
            }
        }
        for (table, dataset) in &tables {
            let pinned = self.find(&path(&table.log.object)?).await?.unwrap_or_default();
            Table::place(&target.tables, &table_root(&manifest.tenant, dataset), table.version, pinned).await?;
        }
        for (table, dataset) in tables {
            check(target, (&manifest.tenant, dataset), table, thorough).await?;
        }
        Ok(restored)
    }

    /// Reads backups, the newest first, until one is whole; writes its files, all but the logs, if there is a target.
    async fn newest_whole(
        &self,
        at_ms: Option<i64>,
        target: Option<&Target>,
        watch: &dyn Fn(Copied),
    ) -> Result<Restored> {
        let (mut passed, mut done) = (Vec::new(), Done::new());
        let backups = self.list().await?;
        let sizes = self.all_sizes().await?;
        for backup in backups.into_iter().filter(|backup| at_ms.is_none_or(|at_ms| backup.taken_ms <= at_ms)) {
            let taken_ms = backup.taken_ms;
            let why = match backup.manifest {
                None => format!("{} is damaged", backup.path),
                Some(manifest) => match lacks(&manifest, &sizes) {
                    Some(why) => why,
                    None => match self.read(&manifest, target, &mut done, watch).await {
                        Ok(()) => return Ok(Restored { manifest, passed }),
                        Err(Failed::Gone(why)) => why,
                        Err(Failed::Store(error)) => return Err(error),
                    },
                },
            };
            tracing::warn!(taken_ms, why, "this backup is not whole; taking the one before");
            passed.push(Passed { taken_ms, why });
        }
        let newest = passed.first().map_or_else(|| "there is none".to_owned(), |passed| passed.why.clone());
        let message = format!("no backup here is whole: {newest}, place={} passed_over={}", self.place, passed.len());
        Err(Error::new(ErrorKind::Corrupt, message))
    }

    /// Reads all files of a backup, and writes data files.
    async fn read(
        &self,
        manifest: &Manifest,
        target: Option<&Target>,
        done: &mut Done,
        watch: &dyn Fn(Copied),
    ) -> Result<(), Failed> {
        let tables = target.map(|target| &target.tables);
        let files = manifest.tables.iter().flat_map(|table| &table.files).map(|kept| (kept, tables));
        let logs = manifest.tables.iter().map(|table| (&table.log, None));
        // Names of these are used again, so they are written when it is known whose they are.
        let others = manifest.others.iter().map(|kept| (kept, None));
        let wanted: Vec<(&Kept, Option<&Arc<dyn ObjectStore>>)> =
            files.chain(logs).chain(others).filter(|(kept, _)| !done.contains(&kept.object)).collect();
        let mut progress = Copied::of(wanted.iter().map(|(kept, _)| kept.size));
        watch(progress);
        let reads = wanted.iter().map(|(kept, store)| async move { (*kept, self.fetch(kept, *store).await) });
        let mut reads = stream::iter(reads).buffer_unordered(FILES_AT_ONCE);
        let mut failed = None;
        while let Some((kept, read)) = reads.next().await {
            match read {
                Ok(()) => _ = done.insert(kept.object.clone()),
                // The others are read all the same: most of them are in the backup before, too.
                Err(Failed::Gone(why)) => failed = failed.or(Some(Failed::Gone(why))),
                Err(failed) => return Err(failed),
            }
            progress.done(kept.size);
            watch(progress);
        }
        failed.map_or(Ok(()), Err)
    }

    /// Reads one file, and writes it if there is a store for it.
    async fn fetch(&self, kept: &Kept, store: Option<&Arc<dyn ObjectStore>>) -> Result<(), Failed> {
        let object = path(&kept.object)?;
        let from = Copying { store: self.store.as_ref(), path: &object, size: kept.size };
        let sum = match store {
            None => from.sum().await?,
            Some(store) => from.to(store.as_ref(), &path(&kept.path)?).await?,
        };
        if sum != kept.crc32c {
            return Err(Failed::Gone(format!("{object} is damaged: its bytes are not those that were written")));
        }
        Ok(())
    }
}

/// Deletes files of backups that were passed over. The place was empty, so all that is there was written just now.
async fn delete_others(target: &Target, manifest: &Manifest) -> Result<()> {
    let named: HashSet<&str> = manifest.kept().map(|kept| kept.path.as_str()).collect();
    let mut others = Vec::new();
    let mut objects = target.tables.list(None);
    while let Some(object) = objects.try_next().await? {
        others.extend((!named.contains(object.location.as_ref())).then_some(object.location));
    }
    let deleted = target.tables.delete_stream(stream::iter(others.into_iter().map(Ok)).boxed());
    deleted.try_collect::<Vec<_>>().await?;
    Ok(())
}

/// Is a restored table what was backed up?
async fn check(
    target: &Target,
    (tenant, dataset): (&str, &'static Dataset),
    copy: &TableCopy,
    thorough: bool,
) -> Result<()> {
    let store: Arc<dyn ObjectStore> = Arc::new(CheckedStore::new(Arc::clone(&target.tables)));
    let table = Table::load(Arc::clone(&store), table_root(tenant, dataset), dataset).await?;
    let files = table.files();
    let wrong = |what: String| {
        let message = format!("the restored table is not what was backed up: {what}, dataset={}", dataset.name);
        Err(Error::new(ErrorKind::Corrupt, message))
    };
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    if (table.version, files.len(), rows) != (Some(copy.version), copy.files.len(), copy.rows) {
        return wrong(format!("version={:?} files={} rows={rows}", table.version, files.len()));
    }
    if !thorough {
        return Ok(());
    }
    let sums: HashMap<&str, u32> = copy.files.iter().map(|kept| (kept.path.as_str(), kept.crc32c)).collect();
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
