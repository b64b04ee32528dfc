//! The local folder as an object store whose puts are durable.
//!
//! Reads, lists and deletes are object_store's own local store. Puts are ours: the library's local store links files it never
//! synced, so that a power cut could leave a commit that names an empty file. A put here is: temporary file, fsync, link (or
//! rename), fsync of the folder; new folders are synced into their parents. So is a file that is put in parts, which shows when
//! it is complete.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, local::LocalFileSystem, path::Path,
};

use hashbrown::HashSet;
use parking_lot::Mutex;

use crate::{
    Random,
    disk::{Disk, DiskFile, create_dir_durable},
};

const STORE: &str = "local folder";
/// How names of files begin that are being written.
const STAGED: &str = "staged-";

/// A folder as an object store with durable puts.
#[derive(Debug, Clone)]
pub(crate) struct FolderStore {
    root: PathBuf,
    reads: Arc<LocalFileSystem>,
    disk: Arc<dyn Disk>,
    random: Random,
    /// Folders known to be durable.
    folders: Arc<Mutex<HashSet<PathBuf>>>,
}

impl FolderStore {
    /// Opens the folder, which must exist.
    pub(crate) fn open(root: PathBuf, disk: Arc<dyn Disk>, random: Random) -> Result<Self> {
        let reads = Arc::new(LocalFileSystem::new_with_prefix(&root)?);
        // LocalFileSystem resolves links, and so must the folder whose parents are synced.
        let root = root.canonicalize().map_err(|error| generic(error.into()))?;
        Ok(Self { root, reads, disk, random, folders: Arc::default() })
    }

    /// The file of a location, and its folder, which is durable from here on.
    fn place(&self, location: &Path) -> Result<(PathBuf, PathBuf)> {
        let target = self.reads.path_to_filesystem(location)?;
        let folder = target.parent().unwrap_or(&self.root).to_owned();
        if !self.folders.lock().contains(&folder) {
            create_dir_durable(self.disk.as_ref(), &self.root, &folder).map_err(|error| generic(error.into()))?;
            self.folders.lock().insert(folder.clone());
        }
        Ok((target, folder))
    }

    /// A name for what is being written. `#` keeps it out of listings: object_store's local store skips its own staging names of
    /// this form.
    fn staged(&self, folder: &std::path::Path) -> PathBuf {
        folder.join(format!("{STAGED}{:032x}#1", self.random.bits()))
    }

    fn put_blocking(&self, location: &Path, payload: &PutPayload, overwrite: bool) -> Result<()> {
        let (target, folder) = self.place(location)?;
        let step = |error: std::io::Error| generic(error.into());
        let staged = self.staged(&folder);
        let written = (|| {
            let file = self.disk.create(&staged)?;
            let mut offset = 0;
            for chunk in payload.iter() {
                file.write_at(chunk, offset)?;
                offset += chunk.len() as u64;
            }
            file.sync()?;
            if overwrite {
                return self.disk.rename(&staged, &target);
            }
            self.disk.link(&staged, &target)
        })();
        if !overwrite || written.is_err() {
            // Left behind at worst; a failed clean-up changes nothing about the put.
            let _ = self.disk.remove(&staged);
        }
        match written {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                // It may be what an earlier try linked and failed to sync: whoever finds it there relies on it.
                self.disk.sync_dir(&folder).map_err(step)?;
                Err(Error::AlreadyExists { path: location.to_string(), source: error.into() })
            }
            Err(error) => Err(step(error)),
            Ok(()) => self.disk.sync_dir(&folder).map_err(step),
        }
    }
}

/// Deletes what puts that were killed have left below a folder, if it was last written before a time (ms). No listing shows it.
pub(crate) fn delete_staged(folder: &std::path::Path, before_ms: i64) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let meta = entry.metadata()?;
        if meta.is_dir() {
            delete_staged(&entry.path(), before_ms)?;
        } else if name.starts_with(STAGED) && name.ends_with("#1") {
            let age = meta.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            if i64::try_from(age.as_millis()).is_ok_and(|ms| ms < before_ms) {
                std::fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(())
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::Generic { store: STORE, source }
}

/// Runs what waits for a disk where waiting holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| generic(error.into()))?
}

/// A file that is put in parts: nobody sees it before all of it is durable.
#[derive(Debug)]
struct Parts {
    disk: Arc<dyn Disk>,
    file: Arc<dyn DiskFile>,
    staged: PathBuf,
    target: PathBuf,
    folder: PathBuf,
    /// Where the next part begins.
    offset: u64,
    complete: bool,
}

impl Parts {
    fn begin(store: &FolderStore, location: &Path) -> Result<Self> {
        let (target, folder) = store.place(location)?;
        let staged = store.staged(&folder);
        let file = store.disk.create(&staged).map_err(|error| generic(error.into()))?;
        Ok(Self { disk: Arc::clone(&store.disk), file, staged, target, folder, offset: 0, complete: false })
    }
}

#[async_trait]
impl MultipartUpload for Parts {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (file, mut offset) = (Arc::clone(&self.file), self.offset);
        self.offset += data.content_length() as u64;
        Box::pin(blocking(move || {
            for chunk in data.iter() {
                file.write_at(chunk, offset).map_err(|error| generic(error.into()))?;
                offset += chunk.len() as u64;
            }
            Ok(())
        }))
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (disk, file) = (Arc::clone(&self.disk), Arc::clone(&self.file));
        let (staged, target, folder) = (self.staged.clone(), self.target.clone(), self.folder.clone());
        let done = move || {
            file.sync()?;
            disk.rename(&staged, &target)?;
            disk.sync_dir(&folder)
        };
        blocking(move || done().map_err(|error| generic(error.into()))).await?;
        self.complete = true;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        // The rest is done when this is dropped.
        Ok(())
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if !self.complete {
            // Left behind at worst, under a name that no listing shows.
            let _ = self.disk.remove(&self.staged);
        }
    }
}

impl fmt::Display for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{STORE} {}", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let overwrite = match options.mode {
            PutMode::Overwrite => true,
            PutMode::Create => false,
            PutMode::Update(_) => {
                return Err(Error::NotImplemented {
                    operation: "conditional update".into(),
                    implementer: STORE.into(),
                });
            }
        };
        let (store, location) = (self.clone(), location.clone());
        blocking(move || store.put_blocking(&location, &payload, overwrite)).await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn put_multipart_opts(&self, location: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let (store, location) = (self.clone(), location.clone());
        Ok(Box::new(blocking(move || Parts::begin(&store, &location)).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reads.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.reads.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.reads.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reads.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reads.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.reads.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.reads.copy_opts(from, to, options).await
    }
}
