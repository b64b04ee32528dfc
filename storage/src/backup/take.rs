//! Takes a backup: pins one version of every table, copies the data files that are not there yet, then the logs, then the manifest.
//!
//! A server beside it goes on: it merges files, and deletes those it has merged an hour later. What goes before it is copied is no
//! loss, as its rows are in the files that took its place: all tables are pinned anew, and what was copied stays copied. Small files
//! are copied first, since they are the ones that are merged.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path};
use schemas::Dataset;

use super::{
    Backups, Copied, FILES_AT_ONCE, Kept, Manifest, TableCopy,
    copy::{Copying, Failed},
    lacks, manifest, path,
};
use crate::{
    Config, DataFile, Env, Error, ErrorKind, Result, Write,
    checked::{self, CheckedStore},
    delta::Table,
    folder::{Folder, table_root},
    read_only,
    wal::recovery::Committed,
};

/// Times that tables are pinned before files that are not there count as lost: a table that is merged is behind for an hour at least,
/// so ten are longer than any copy.
const PINS_MAX: usize = 10;

/// What is copied.
pub struct Source {
    pub(super) tables: Arc<dyn ObjectStore>,
    pub(super) tenant: String,
    pub(super) datasets: Vec<&'static Dataset>,
    /// The data folder, for what is beside the tables: its log, which is counted, and its files.
    pub(super) folder: Option<(Folder, Arc<dyn ObjectStore>)>,
    pub(super) others: Vec<String>,
}

/// A backup that was taken.
#[derive(Debug)]
pub struct Taken {
    /// What is in it.
    pub manifest: Manifest,
    /// Files that were not there before.
    pub files_copied: usize,
    /// Their size, bytes.
    pub bytes_copied: u64,
}

impl Source {
    /// Opens the tables of a data folder for reading, whether or not a server runs on it. `datasets` are pinned in this order: one
    /// whose rows name rows of another comes before it. Of the folder, what is below `others` is copied as well.
    ///
    /// # Errors
    /// `Invalid` if the folder is not a data folder, or its tables are not where the settings say.
    pub async fn open(config: &Config, datasets: Vec<&'static Dataset>, others: &[&str], env: &Env) -> Result<Self> {
        let (folder, tables) = read_only::look(config, &datasets, env).await?;
        let files: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&config.data_dir)?);
        let others = others.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self { tables, tenant: config.tenant.clone(), datasets, folder: Some((folder, files)), others })
    }

    /// The newest version of every table that there is.
    async fn pin(&self) -> Result<Vec<Table>> {
        let mut tables = Vec::with_capacity(self.datasets.len());
        for dataset in &self.datasets {
            let table = Table::load(Arc::clone(&self.tables), table_root(&self.tenant, dataset), dataset).await?;
            tables.extend(table.version.is_some().then_some(table));
        }
        Ok(tables)
    }

    /// Rows by dataset that are in the log and not in the tables; `None` if the log cannot be read, which is no reason to leave the
    /// tables without a backup. What a server has committed and cut off since is not seen.
    async fn waiting(&self, tables: &[Table]) -> Option<BTreeMap<String, u64>> {
        let (folder, _) = self.folder.as_ref()?;
        let source = folder.source();
        let committed = Committed(tables.iter().map(|table| (table.dataset.name, table.position(&source))).collect());
        let recovered = match read_only::read_log(folder, &self.datasets, &committed).await {
            Ok(recovered) => recovered,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "the log cannot be read: how many rows wait in it is not known");
                return None;
            }
        };
        let mut waiting = BTreeMap::new();
        for batch in recovered.appends.iter().flat_map(|(_, batches)| batches) {
            if let Write::Append(rows, _) = &batch.write {
                *waiting.entry(batch.dataset.name.to_owned()).or_default() += rows.num_rows() as u64;
            }
        }
        Some(waiting)
    }
}

/// What is known of the place, and what came to it.
#[derive(Default)]
struct Shelf {
    /// Sizes of objects.
    sizes: HashMap<String, u64>,
    /// Checksums of those that a manifest names.
    sums: HashMap<String, u32>,
    /// Files of the data folder as they were last kept.
    others: HashMap<String, Kept>,
    files_copied: usize,
    bytes_copied: u64,
}

impl Shelf {
    fn put(&mut self, object: String, size: u64, sum: u32) {
        self.files_copied += 1;
        self.bytes_copied += size;
        self.sizes.insert(object.clone(), size);
        self.sums.insert(object, sum);
    }

    /// Is the object there, as a manifest says it is?
    fn has(&self, object: &str, size: u64) -> bool {
        self.sizes.get(object) == Some(&size) && self.sums.contains_key(object)
    }
}

/// A data file that has to be copied.
struct Lacking {
    file: Arc<DataFile>,
    object: String,
    /// May it be there already, from a backup that was broken off?
    begun: bool,
}

impl Backups {
    /// Takes a backup; tells `watch` how far it has come.
    ///
    /// # Errors
    /// `Unavailable` if one of the stores does not answer, `Corrupt` if a file of a table is not there.
    pub async fn take(&self, source: &Source, watch: &dyn Fn(Copied)) -> Result<Taken> {
        let mut shelf = self.shelf().await?;
        let mut gone = String::new();
        for _ in 0..PINS_MAX {
            let mut manifest = Manifest::new(self.env.clock.now_ms(), &source.tenant);
            let tables = source.pin().await?;
            manifest.waiting = source.waiting(&tables).await;
            match self.fill(source, &tables, &mut shelf, watch).await {
                Ok(()) => {}
                Err(Failed::Gone(what)) => {
                    tracing::info!(what, "tables were merged meanwhile; pinning their newer versions");
                    gone = what;
                    continue;
                }
                Err(Failed::Store(error)) => return Err(error),
            }
            for table in &tables {
                manifest.tables.push(self.table(table, &mut shelf).await?);
            }
            manifest.others = self.others(source, &mut shelf).await?;
            // Somebody may have deleted what no manifest named.
            shelf.sizes = self.all_sizes().await?;
            if let Some(what) = lacks(&manifest, &shelf.sizes) {
                tracing::warn!(what, "what was copied is not there any more; copying again");
                gone = what;
                continue;
            }
            let (path, bytes) = manifest.encode()?;
            self.store.put(&path, bytes.into()).await?;
            return Ok(Taken { manifest, files_copied: shelf.files_copied, bytes_copied: shelf.bytes_copied });
        }
        let message =
            format!("a table names a file that is not there, or files go faster than they are copied: {gone}");
        Err(Error::new(ErrorKind::Corrupt, message))
    }

    async fn shelf(&self) -> Result<Shelf> {
        let mut shelf = Shelf { sizes: self.all_sizes().await?, ..Shelf::default() };
        // The newest come first, and say how files of the folder were last.
        for manifest in self.list().await?.into_iter().filter_map(|backup| backup.manifest) {
            shelf.sums.extend(manifest.kept().map(|kept| (kept.object.clone(), kept.crc32c)));
            for kept in manifest.others {
                shelf.others.entry(kept.path.clone()).or_insert(kept);
            }
        }
        Ok(shelf)
    }

    /// Copies the data files that are not there.
    async fn fill(
        &self,
        source: &Source,
        tables: &[Table],
        shelf: &mut Shelf,
        watch: &dyn Fn(Copied),
    ) -> Result<(), Failed> {
        let mut lacking = Vec::new();
        for file in tables.iter().flat_map(Table::files) {
            let object = object_of(&file);
            if !shelf.has(&object, file.size) {
                let begun = shelf.sizes.get(&object) == Some(&file.size) && checked::is_sealed(&file.path);
                lacking.push(Lacking { file, object, begun });
            }
        }
        lacking.sort_by_key(|lacking| lacking.file.size);
        let mut progress = Copied::of(lacking.iter().map(|lacking| lacking.file.size));
        watch(progress);
        let copies = lacking.iter().map(|lacking| async move { (lacking, self.copy(source, lacking).await) });
        let mut copies = stream::iter(copies).buffer_unordered(FILES_AT_ONCE);
        let mut failed = None;
        while let Some((Lacking { file, object, .. }, copied)) = copies.next().await {
            match copied {
                Ok(sum) => shelf.put(object.clone(), file.size, sum),
                // The others are copied all the same, as far as they are there: the next pins name most of them again.
                Err(Failed::Gone(what)) => failed = Some(Failed::Gone(what)),
                Err(failed) => return Err(failed),
            }
            progress.done(file.size);
            watch(progress);
        }
        failed.map_or(Ok(()), Err)
    }

    async fn copy(&self, source: &Source, lacking: &Lacking) -> Result<u32, Failed> {
        let Lacking { file, object, begun } = lacking;
        let object = path(object)?;
        if *begun {
            let there = CheckedStore::new(Arc::clone(&self.store));
            if let Ok(sum) = (Copying { store: &there, path: &object, size: file.size }).sum().await {
                return Ok(sum);
            }
        }
        let from = Copying { store: source.tables.as_ref(), path: &file.path, size: file.size };
        from.to(self.store.as_ref(), &object).await
    }

    /// Keeps the log of a pinned table, whose files are all there.
    async fn table(&self, table: &Table, shelf: &mut Shelf) -> Result<TableCopy> {
        let files = table.files();
        let version = table.version.unwrap_or_default();
        let bytes = table.pinned()?;
        let (size, sum) = (bytes.len() as u64, crc32c::crc32c(&bytes));
        let object = format!("{}/{}/{version:020}-{sum:08x}.checkpoint.parquet", manifest::LOG, table.root());
        if !shelf.has(&object, size) {
            self.store.put(&path(&object)?, bytes.into()).await?;
            shelf.put(object.clone(), size, sum);
        }
        let kept = |file: &Arc<DataFile>| {
            let object = object_of(file);
            let crc32c = shelf.sums.get(&object).copied().unwrap_or_default();
            Kept { path: file.path.to_string(), object, size: file.size, crc32c, modified_ms: None }
        };
        Ok(TableCopy {
            dataset: table.dataset.name.to_owned(),
            version,
            rows: files.iter().map(|file| file.rows).sum(),
            newest_us: files.iter().filter_map(|file| Some(file.times_us(table.dataset)?.1)).max(),
            log: Kept { path: table.root().to_string(), object, size, crc32c: sum, modified_ms: None },
            files: files.iter().map(kept).collect(),
        })
    }

    /// Keeps files of the data folder. One that goes or changes while it is read is left out: it is being written.
    async fn others(&self, source: &Source, shelf: &mut Shelf) -> Result<Vec<Kept>> {
        let Some((_, folder)) = &source.folder else { return Ok(Vec::new()) };
        let mut kept = Vec::new();
        for name in &source.others {
            let mut objects = folder.list(Some(&Path::from(name.as_str())));
            while let Some(object) = objects.try_next().await? {
                match self.other(folder.as_ref(), &object, shelf).await {
                    Ok(file) => kept.push(file),
                    Err(Failed::Gone(what)) => tracing::info!(what, "a file of the data folder is left out"),
                    Err(Failed::Store(error)) => return Err(error),
                }
            }
        }
        Ok(kept)
    }

    async fn other(&self, folder: &dyn ObjectStore, found: &ObjectMeta, shelf: &mut Shelf) -> Result<Kept, Failed> {
        let (size, modified_ms) = (found.size, Some(found.last_modified.timestamp_millis()));
        let known = shelf.others.get(found.location.as_ref());
        let same = |kept: &&Kept| (kept.size, kept.modified_ms) == (size, modified_ms) && shelf.has(&kept.object, size);
        if let Some(kept) = known.filter(same) {
            return Ok(kept.clone());
        }
        let from = Copying { store: folder, path: &found.location, size };
        let sum = from.sum().await?;
        let object = format!("{}/{sum:08x}-{size}/{}", manifest::OTHERS, found.location);
        if !shelf.has(&object, size) {
            if from.to(self.store.as_ref(), &path(&object)?).await? != sum {
                return Err(Failed::Gone(format!("{} changed while it was copied", found.location)));
            }
            shelf.put(object.clone(), size, sum);
        }
        Ok(Kept { path: found.location.to_string(), object, size, crc32c: sum, modified_ms })
    }
}

/// Where a data file is kept.
fn object_of(file: &DataFile) -> String {
    format!("{}/{}", manifest::DATA, file.path)
}
