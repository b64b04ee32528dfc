//! Copies of all tables and of the log above them, kept in a folder or a bucket, and a data folder made of such a copy.
//!
//! Called by the commands `backup` and `restore`. Layout of a place with backups:
//!
//! ```text
//! manifests/<number>-<time>-<checksum>.json   one backup: its tables, their versions, every file with size and checksum
//! data/<tenant>/<dataset>/…                   data files, by the path they have in their table
//! log/<tenant>/<dataset>/…                    a checkpoint of each version that was pinned
//! folder/<checksum>-<size>/…                  files of the data folder beside the tables, segments of its log among them
//! ```
//!
//! A data file never changes and its name is never used again, so a copy is made once and serves every backup that names it. The
//! manifest is put last: a backup that was broken off is none, and what it has copied serves the next one.
//!
//! Invariants: a manifest names nothing that was not there, whole, when it was put; everything that was acknowledged before a backup
//! began is in it; of files, no more is in memory than small ones and one segment of the log; the data folder is only read.

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};

use crate::{Env, Error, ErrorKind, FREE_BYTES_MIN, Result, S3, free_bytes};

mod copy;
mod location;
mod log;
mod manifest;
mod restore;
mod retention;
mod schedule;
mod take;

pub use location::{Location, Target};
pub use manifest::{Kept, LogCopy, Manifest, TableCopy};
pub use restore::{Passed, Restored, Wish};
pub use retention::Pruned;
pub use schedule::Keep;
pub use take::{Source, Taken};

/// Files that are copied at once: enough to hide a bucket's answers behind one another, few enough for their parts to be small beside
/// a server's memory.
const FILES_AT_ONCE: usize = 4;

/// The backups of one place.
#[derive(Debug, Clone)]
pub struct Backups {
    store: Arc<dyn ObjectStore>,
    /// Where they are, for people.
    place: String,
    /// The folder, if it is one.
    folder: Option<PathBuf>,
    env: Env,
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Files that are done, and of how many.
    pub files: (usize, usize),
    /// Bytes of files that are done, and of how many.
    pub bytes: (u64, u64),
}

impl Copied {
    /// Nothing yet of files with these sizes.
    fn of(sizes: impl Iterator<Item = u64>) -> Self {
        let (files, bytes) = sizes.fold((0, 0), |(files, bytes), size| (files + 1, bytes + size));
        Self { files: (0, files), bytes: (0, bytes) }
    }

    /// One more file.
    fn done(&mut self, size: u64) {
        self.files.0 += 1;
        self.bytes.0 += size;
    }
}

/// A backup that is there.
#[derive(Debug, Clone)]
pub struct Backup {
    /// Grows from one backup of a place to the next.
    pub sequence: u64,
    /// When it was taken, milliseconds.
    pub taken_ms: i64,
    /// What it names; none if the manifest itself is damaged.
    pub manifest: Option<Manifest>,
    path: Path,
}

impl Backups {
    /// Opens a place. A folder has to be there: one that is not may be a disk that is not mounted.
    ///
    /// # Errors
    /// `Invalid` if it cannot be used, `Unavailable` if a folder is not there.
    pub fn open(place: &Location, s3: &S3, env: &Env) -> Result<Self> {
        let store = location::open(place, s3, env, false)?;
        let folder = match place {
            Location::Folder(folder) => Some(folder.clone()),
            Location::Bucket(_) => None,
        };
        Ok(Self { store, place: place.to_string(), folder, env: env.clone() })
    }

    /// All backups of the place, the newest first.
    ///
    /// # Errors
    /// `Unavailable` if the place does not answer, `Invalid` if a newer version wrote there.
    pub async fn list(&self) -> Result<Vec<Backup>> {
        let reads = self.names().await?.into_iter().rev().map(|(name, path)| async move {
            let Some(bytes) = self.find(&path).await? else { return Ok(None) };
            let manifest = match crc32c::crc32c(&bytes) == name.sum {
                true => Manifest::decode(&bytes)?,
                false => None,
            };
            Ok::<_, Error>(Some(Backup { sequence: name.sequence, taken_ms: name.taken_ms, manifest, path }))
        });
        let found: Vec<Option<Backup>> = stream::iter(reads).buffered(FILES_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Names of all manifests, the oldest first.
    async fn names(&self) -> Result<Vec<(manifest::Name, Path)>> {
        let mut names = Vec::new();
        let mut objects = self.store.list(Some(&Path::from(manifest::FOLDER)));
        while let Some(object) = objects.try_next().await? {
            names.extend(manifest::Name::of(&object.location).map(|name| (name, object.location)));
        }
        names.sort();
        Ok(names)
    }

    /// Sizes of the objects below a folder of the place, by path.
    async fn sizes(&self, folder: &str) -> Result<HashMap<String, u64>> {
        let mut sizes = HashMap::new();
        let mut objects = self.store.list(Some(&Path::from(folder)));
        while let Some(object) = objects.try_next().await? {
            sizes.insert(object.location.to_string(), object.size);
        }
        Ok(sizes)
    }

    /// Sizes of all that manifests can name.
    async fn all_sizes(&self) -> Result<HashMap<String, u64>> {
        let mut sizes = HashMap::new();
        for folder in [manifest::DATA, manifest::LOG, manifest::OTHERS] {
            sizes.extend(self.sizes(folder).await?);
        }
        Ok(sizes)
    }

    /// An object's bytes; `None` if it is not there. For small ones.
    async fn find(&self, path: &Path) -> Result<Option<Bytes>> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found.bytes().await?)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What of a manifest is not there as it should be: how many files, and what is wrong with the first.
fn lacks(manifest: &Manifest, sizes: &HashMap<String, u64>) -> Option<String> {
    let wrong = |kept: &&Kept| sizes.get(&kept.object) != Some(&kept.size);
    let mut wrong = manifest.kept().filter(wrong);
    let first = wrong.next()?;
    let what = match sizes.get(&first.object) {
        None => "is missing".to_owned(),
        Some(size) => format!("has {size} bytes in the place of {}", first.size),
    };
    let more = wrong.count();
    let more = if more == 0 { String::new() } else { format!(", and {more} more files are not right") };
    Some(format!("{} {what}{more}", first.object))
}

/// Refuses to fill a disk: so many bytes have to fit below a folder, and some stay free for others.
fn check_room(folder: Option<&std::path::Path>, bytes: u64) -> Result<()> {
    let Some(folder) = folder else { return Ok(()) };
    let free = free_bytes(folder)?;
    if free >= bytes.saturating_add(FREE_BYTES_MIN) {
        return Ok(());
    }
    let message = format!(
        "the disk is too small: make room, or name a place on another one, bytes_needed={bytes} bytes_free={free} \
         bytes_left_free={FREE_BYTES_MIN} folder={}",
        folder.display()
    );
    Err(Error::new(ErrorKind::Unavailable, message))
}

/// The path of an object, as it is written in a manifest.
fn path(text: &str) -> Result<Path> {
    Path::parse(text).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("a manifest names what is no path, path={text}")).caused_by(error)
    })
}

#[cfg(test)]
mod tests;
