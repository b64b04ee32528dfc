//! Takes a backup: pins one version of every table, copies the log above them and the data files that are not there yet, then the logs
//! of the tables, then the manifest.
//!
//! A server beside it goes on: it merges files, and deletes those it has merged an hour later. What goes before it is copied is no
//! loss, as its rows are in the files that took its place: all tables are pinned anew, and what was copied stays copied. Small files
//! are copied first, since they are the ones that are merged.

use std::{collections::HashMap, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, local::LocalFileSystem, path::Path};
use schemas::Dataset;

use super::{
    Backups, Copied, FILES_AT_ONCE, Kept, Manifest, TableCopy, check_room,
    copy::{Copying, Failed},
    lacks,
    log::Segments,
    manifest, path,
};
use crate::{
    Config, DataFile, Env, Error, ErrorKind, Result,
    checked::{self, CheckedStore},
    delta::Table,
    folder::{Folder, table_root},
    read_only,
};

/// Times that tables are pinned before files that are not there count as lost: a table that is merged is behind for an hour at least,
/// so ten are longer than any copy.
const PINS_MAX: usize = 10;

/// What is copied.
pub struct Source {
    pub(super) tables: Arc<dyn ObjectStore>,
    pub(super) tenant: String,
    pub(super) datasets: Vec<&'static Dataset>,
    /// The data folder, for its log, and for its files beside the tables.
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
    /// Those among them that were there, and damaged.
    pub files_mended: usize,
}

/// Tables of one moment each, and what the log had around those moments.
pub(super) struct Pinned {
    pub tables: Vec<Table>,
    pub segments: Segments,
}

impl Source {
    /// Opens the tables of a data folder for reading, whether or not a server runs on it. Of the folder, what is below `others` is
    /// copied as well.
    ///
    /// # Errors
    /// `Invalid` if the folder is not a data folder, or its tables are not where the settings say.
    pub async fn open(config: &Config, datasets: Vec<&'static Dataset>, others: &[&str], env: &Env) -> Result<Self> {
        let (folder, tables) = read_only::look(config, &datasets, env).await?;
        let files: Arc<dyn ObjectStore> = Arc::new(LocalFileSystem::new_with_prefix(&config.data_dir)?);
        let others = others.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self { tables, tenant: config.tenant.clone(), datasets, folder: Some((folder, files)), others })
    }

    /// The newest version of every table that there is, between two looks at the log.
    async fn pin(&self) -> Result<Pinned> {
        let mut segments = Segments::default();
        let mut look = || self.folder.as_ref().map_or(Ok(()), |(folder, _)| segments.open(folder));
        look()?;
        let mut tables = Vec::with_capacity(self.datasets.len());
        for dataset in &self.datasets {
            let table = Table::load(Arc::clone(&self.tables), table_root(&self.tenant, dataset), dataset).await?;
            tables.extend(table.version.is_some().then_some(table));
        }
        look()?;
        Ok(Pinned { tables, segments })
    }
}

/// What is known of the place, and what came to it.
#[derive(Default)]
pub(super) struct Shelf {
    /// Sizes of objects.
    sizes: HashMap<String, u64>,
    /// Checksums of those that are believed to be what they were.
    sums: HashMap<String, u32>,
    /// Files of the data folder as they were last kept.
    others: HashMap<String, Kept>,
    /// Tables of the newest backup, with their identities.
    tables: HashMap<String, String>,
    files_copied: usize,
    bytes_copied: u64,
    files_mended: usize,
}

impl Shelf {
    fn put(&mut self, object: String, size: u64, sum: u32) {
        self.files_copied += 1;
        self.bytes_copied += size;
        self.believe(object, size, sum);
    }

    fn believe(&mut self, object: String, size: u64, sum: u32) {
        self.sizes.insert(object.clone(), size);
        self.sums.insert(object, sum);
    }

    /// Is the object there, as a manifest says it is?
    fn has(&self, object: &str, size: u64) -> bool {
        self.sizes.get(object) == Some(&size) && self.sums.contains_key(object)
    }

    /// Refuses tables that are not those of the backups before: of them, retention would delete the last copies.
    fn check_same(&self, source: &Source, tables: &[Table]) -> Result<()> {
        for dataset in &source.datasets {
            let Some(id) = self.tables.get(dataset.name) else { continue };
            let found = tables.iter().find(|table| table.dataset.name == dataset.name).map(Table::id);
            if found != Some(id) {
                let message = format!(
                    "the backups here are of other tables: name another place for these, or restore first if these should be \
                     those, dataset={} id={} id_in_backup={id}",
                    dataset.name,
                    found.unwrap_or("none")
                );
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        Ok(())
    }
}

/// A data file that has to be copied.
struct Lacking {
    path: Path,
    size: u64,
    object: String,
    /// May it be there already?
    begun: bool,
}

/// How a file came to be in the place.
enum Came {
    /// It was there.
    Stood(u32),
    Copied(u32),
    /// It was there, and damaged.
    Mended(u32),
}

impl Backups {
    /// Takes a backup; tells `watch` how far it has come. With `thorough`, what is there already is read, and copied anew where it is
    /// damaged.
    ///
    /// # Errors
    /// `Unavailable` if one of the stores does not answer or a disk is full, `Corrupt` if a file of a table is not there, `Invalid` if
    /// the backups here are of other tables.
    pub async fn take(&self, source: &Source, thorough: bool, watch: &dyn Fn(Copied)) -> Result<Taken> {
        let mut shelf = self.shelf(thorough).await?;
        let mut gone = String::new();
        for _ in 0..PINS_MAX {
            let taken_ms = self.env.clock.now_ms();
            let pinned = source.pin().await?;
            shelf.check_same(source, &pinned.tables)?;
            let mut manifest = Manifest::new(taken_ms, &source.tenant);
            match self.fill(&mut manifest, (source, &pinned), &mut shelf, watch).await {
                Ok(()) => {}
                Err(Failed::Gone(what)) => {
                    tracing::info!(what, "tables were merged meanwhile; pinning their newer versions");
                    gone = what;
                    continue;
                }
                Err(Failed::Store(error)) => return Err(error),
            }
            manifest.sequence = self.names().await?.last().map_or(0, |(newest, _)| newest.sequence) + 1;
            let (path, bytes) = manifest.encode()?;
            self.store.put(&path, bytes.into()).await?;
            // Looked at once more when others can see what it names: until then, another backup may have deleted it.
            shelf.sizes = self.all_sizes().await?;
            if let Some(what) = lacks(&manifest, &shelf.sizes) {
                tracing::warn!(what, "what was copied is not there any more; copying again");
                self.delete(vec![path]).await?;
                gone = what;
                continue;
            }
            let Shelf { files_copied, bytes_copied, files_mended, .. } = shelf;
            return Ok(Taken { manifest, files_copied, bytes_copied, files_mended });
        }
        let message =
            format!("a table names a file that is not there, or files go faster than they are copied: {gone}");
        Err(Error::new(ErrorKind::Corrupt, message))
    }

    pub(super) async fn shelf(&self, thorough: bool) -> Result<Shelf> {
        let mut shelf = Shelf { sizes: self.all_sizes().await?, ..Shelf::default() };
        // The newest come first, and say how files of the folder were last.
        for manifest in self.list().await?.into_iter().filter_map(|backup| backup.manifest) {
            if !thorough {
                shelf.sums.extend(manifest.kept().map(|kept| (kept.object.clone(), kept.crc32c)));
            }
            for TableCopy { dataset, id, .. } in manifest.tables {
                shelf.tables.entry(dataset).or_insert(id);
            }
            for kept in manifest.others {
                shelf.others.entry(kept.path.clone()).or_insert(kept);
            }
        }
        Ok(shelf)
    }

    /// Copies what a backup of pinned tables names, and names it.
    async fn fill(
        &self,
        manifest: &mut Manifest,
        (source, pinned): (&Source, &Pinned),
        shelf: &mut Shelf,
        watch: &dyn Fn(Copied),
    ) -> Result<(), Failed> {
        manifest.log = self.log(source, pinned, shelf).await?;
        let mut files = Vec::new();
        for file in pinned.tables.iter().flat_map(Table::files) {
            files.push((file.path.clone(), file.size));
        }
        let staged = manifest.log.iter_mut().flat_map(|log| &mut log.staged);
        for kept in staged {
            files.push((path(&kept.path)?, kept.size));
        }
        self.data(source, files, shelf, watch).await?;
        for kept in manifest.log.iter_mut().flat_map(|log| &mut log.staged) {
            kept.crc32c = shelf.sums.get(&kept.object).copied().unwrap_or_default();
        }
        for table in &pinned.tables {
            manifest.tables.push(self.table(table, shelf).await?);
        }
        manifest.others = self.others(source, shelf, watch).await?;
        Ok(())
    }

    /// Copies the data files that are not there.
    async fn data(
        &self,
        source: &Source,
        files: Vec<(Path, u64)>,
        shelf: &mut Shelf,
        watch: &dyn Fn(Copied),
    ) -> Result<(), Failed> {
        let mut lacking = Vec::new();
        for (path, size) in files {
            let object = object_of(&path);
            if !shelf.has(&object, size) {
                let begun = shelf.sizes.get(&object) == Some(&size) && checked::is_sealed(&path);
                lacking.push(Lacking { path, size, object, begun });
            }
        }
        let new = lacking.iter().filter(|lacking| !lacking.begun).map(|lacking| lacking.size).sum();
        check_room(self.folder.as_deref(), new)?;
        lacking.sort_by_key(|lacking| lacking.size);
        let mut progress = Copied::of(lacking.iter().map(|lacking| lacking.size));
        watch(progress);
        let copies = lacking.iter().map(|lacking| async move { (lacking, self.copy(source, lacking).await) });
        let mut copies = stream::iter(copies).buffer_unordered(FILES_AT_ONCE);
        let mut failed = None;
        while let Some((Lacking { size, object, .. }, copied)) = copies.next().await {
            match copied {
                Ok(Came::Stood(sum)) => shelf.believe(object.clone(), *size, sum),
                Ok(Came::Copied(sum)) => shelf.put(object.clone(), *size, sum),
                Ok(Came::Mended(sum)) => {
                    shelf.files_mended += 1;
                    shelf.put(object.clone(), *size, sum);
                }
                // The others are copied all the same, as far as they are there: the next pins name most of them again.
                Err(Failed::Gone(what)) => failed = Some(Failed::Gone(what)),
                Err(failed) => return Err(failed),
            }
            progress.done(*size);
            watch(progress);
        }
        failed.map_or(Ok(()), Err)
    }

    async fn copy(&self, source: &Source, lacking: &Lacking) -> Result<Came, Failed> {
        let Lacking { path: from, size, object, begun } = lacking;
        let object = path(object)?;
        if *begun {
            let there = CheckedStore::new(Arc::clone(&self.store));
            if let Ok(sum) = (Copying { store: &there, path: &object, size: *size }).sum().await {
                return Ok(Came::Stood(sum));
            }
            tracing::warn!(%object, "a file of the backups is damaged; copying it anew");
        }
        let from = Copying { store: source.tables.as_ref(), path: from, size: *size };
        let sum = from.to(self.store.as_ref(), &object).await?;
        Ok(if *begun { Came::Mended(sum) } else { Came::Copied(sum) })
    }

    /// Keeps the log of a pinned table, whose files are all there.
    async fn table(&self, table: &Table, shelf: &mut Shelf) -> Result<TableCopy> {
        let files = table.files();
        let version = table.version.unwrap_or_default();
        let bytes = table.pinned()?;
        let (size, sum) = (bytes.len() as u64, crc32c::crc32c(&bytes));
        let object = format!("{}/{}/{version:020}-{sum:08x}.checkpoint.parquet", manifest::LOG, table.root());
        self.keep(&object, (sum, bytes), shelf).await?;
        let kept = |file: &Arc<DataFile>| {
            let object = object_of(&file.path);
            let crc32c = shelf.sums.get(&object).copied().unwrap_or_default();
            Kept { path: file.path.to_string(), object, size: file.size, crc32c, modified_ms: None }
        };
        Ok(TableCopy {
            dataset: table.dataset.name.to_owned(),
            id: table.id().to_owned(),
            version,
            rows: files.iter().map(|file| file.rows).sum(),
            newest_us: files.iter().filter_map(|file| Some(file.times_us(table.dataset)?.1)).max(),
            log: Kept { path: table.root().to_string(), object, size, crc32c: sum, modified_ms: None },
            files: files.iter().map(kept).collect(),
        })
    }

    /// Keeps bytes under a name that has their checksum, unless they are there.
    pub(super) async fn keep(&self, object: &str, (sum, bytes): (u32, Vec<u8>), shelf: &mut Shelf) -> Result<()> {
        let size = bytes.len() as u64;
        match self.stands(object, (size, sum), shelf).await {
            true => shelf.believe(object.to_owned(), size, sum),
            false => {
                self.store.put(&path(object)?, bytes.into()).await?;
                shelf.put(object.to_owned(), size, sum);
            }
        }
        Ok(())
    }

    /// Is an object there that has its checksum in its name? What no manifest vouches for is read.
    async fn stands(&self, object: &str, (size, sum): (u64, u32), shelf: &Shelf) -> bool {
        if shelf.has(object, size) {
            return true;
        }
        let Ok(path) = path(object) else { return false };
        let there = Copying { store: self.store.as_ref(), path: &path, size };
        shelf.sizes.get(object) == Some(&size) && there.sum().await.is_ok_and(|found| found == sum)
    }

    /// Keeps files of the data folder. One that goes or changes while it is read is left out: it is being written.
    async fn others(&self, source: &Source, shelf: &mut Shelf, watch: &dyn Fn(Copied)) -> Result<Vec<Kept>> {
        let Some((_, folder)) = &source.folder else { return Ok(Vec::new()) };
        let mut found: Vec<ObjectMeta> = Vec::new();
        for name in &source.others {
            found.extend(folder.list(Some(&Path::from(name.as_str()))).try_collect::<Vec<_>>().await?);
        }
        let mut progress = Copied::of(found.iter().map(|object| object.size));
        let known: &Shelf = shelf;
        let copies =
            found.iter().map(|object| async move { (object, self.other(folder.as_ref(), object, known).await) });
        let mut copies = stream::iter(copies).buffer_unordered(FILES_AT_ONCE);
        let (mut kept, mut new) = (Vec::with_capacity(found.len()), Vec::new());
        while let Some((object, copied)) = copies.next().await {
            match copied {
                Ok((file, is_new)) => {
                    new.extend(is_new.then(|| file.clone()));
                    kept.push(file);
                }
                Err(Failed::Gone(what)) => tracing::info!(what, "a file of the data folder is left out"),
                Err(Failed::Store(error)) => return Err(error),
            }
            progress.done(object.size);
            watch(progress);
        }
        drop(copies);
        new.into_iter().for_each(|kept| shelf.put(kept.object, kept.size, kept.crc32c));
        kept.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(kept)
    }

    /// Keeps one of them; says whether it was copied.
    async fn other(&self, folder: &dyn ObjectStore, found: &ObjectMeta, shelf: &Shelf) -> Result<(Kept, bool), Failed> {
        let (size, modified_ms) = (found.size, Some(found.last_modified.timestamp_millis()));
        let known = shelf.others.get(found.location.as_ref());
        let same = |kept: &&Kept| (kept.size, kept.modified_ms) == (size, modified_ms) && shelf.has(&kept.object, size);
        if let Some(kept) = known.filter(same) {
            return Ok((kept.clone(), false));
        }
        let from = Copying { store: folder, path: &found.location, size };
        let sum = from.sum().await?;
        let object = format!("{}/{sum:08x}-{size}/{}", manifest::OTHERS, found.location);
        let stands = self.stands(&object, (size, sum), shelf).await;
        if !stands && from.to(self.store.as_ref(), &path(&object)?).await? != sum {
            return Err(Failed::Gone(format!("{} changed while it was copied", found.location)));
        }
        Ok((Kept { path: found.location.to_string(), object, size, crc32c: sum, modified_ms }, !stands))
    }
}

/// Where a data file is kept.
pub(super) fn object_of(path: &Path) -> String {
    format!("{}/{path}", manifest::DATA)
}
