//! The data folder: its identity, its lock, and where things are in it.
//!
//! Called when storage opens. Layout:
//!
//! ```text
//! streamgauge.json   on-disk format, the identity of the log, and where the tables are that it belongs to
//! lock               held by the process that writes
//! wal/               the log
//! tables/<tenant>/<dataset>/   Delta tables, if they are not in a bucket
//! spool/             what waits for buckets that are away
//! cache/             blocks of files in buckets
//! ```

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use rustix::fs::FlockOperation;
use schemas::Dataset;
use serde::{Deserialize, Serialize};

use crate::{
    Env, Error, ErrorKind, Result, Root,
    delta::uuid_text,
    disk::{Disk, create_dir_durable},
};

/// Version of the folder's layout and of the log; the tables carry their own.
const FORMAT: u32 = 1;

/// File with the folder's identity.
pub(crate) const IDENTITY: &str = "streamgauge.json";

/// Where the table of each dataset is: `folder`, or a bucket's URL.
pub(crate) type Roots = BTreeMap<String, String>;

/// An open data folder. Dropping it frees the lock.
#[derive(Debug)]
pub(crate) struct Folder {
    root: PathBuf,
    /// Identity of the log. A new folder gets a new one, so that tables that outlived their log do not take its rows for
    /// rows they have.
    pub log: u128,
    roots: Roots,
    _lock: Option<File>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    format: u32,
    log: String,
    /// Roots of the datasets the log has held rows of. What the log has let go is in these tables and nowhere else.
    /// Folders made before there were others have none: theirs are in the folder.
    #[serde(default)]
    roots: Option<Roots>,
    /// A restore is writing the folder, or has been killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    restoring: bool,
}

impl Folder {
    /// Opens the folder for writing, making it if needed. Refuses it if its log belongs to tables in other `roots`.
    pub(crate) fn open(root: &Path, roots: &Roots, disk: &dyn Disk, env: &Env) -> Result<Self> {
        let made = fs::create_dir_all(root).and_then(|()| root.canonicalize());
        let root = &made.map_err(|error| at(root, "data folder cannot be made", error))?;
        let lock = lock(root)?;
        if let Some(parent) = root.parent() {
            // Not ours, so it may not be readable; then its names are as durable as its owner made them.
            let _ = disk.sync_dir(parent);
        }
        for part in ["wal", "tables"] {
            let path = root.join(part);
            create_dir_durable(disk, root, &path).map_err(|error| at(&path, "folder cannot be made", error))?;
        }
        let (log, known) = match read_identity(root)? {
            Some((log, known)) => {
                check_roots(root, known.as_ref(), roots)?;
                (log, known.unwrap_or_default())
            }
            None => {
                let log = env.random.bits();
                write_identity(root, disk, log, Roots::new())
                    .map_err(|error| at(root, "data folder cannot be written", error))?;
                (log, Roots::new())
            }
        };
        Ok(Self { root: root.to_owned(), log, roots: known, _lock: Some(lock) })
    }

    /// Remembers the roots of the datasets that are opened, and those of all before. Called when the tables there were read: a
    /// place that does not exist is not remembered.
    pub(crate) fn remember(&mut self, roots: Roots, disk: &dyn Disk) -> Result<()> {
        let joined: Roots = self.roots.clone().into_iter().chain(roots).collect();
        if joined != self.roots {
            write_identity(&self.root, disk, self.log, joined.clone())
                .map_err(|error| at(&self.root, "data folder cannot be written", error))?;
            self.roots = joined;
        }
        Ok(())
    }

    /// Looks at a folder that may be in use; its tables must be in `roots`.
    pub(crate) fn look(root: &Path, roots: &Roots) -> Result<Self> {
        match read_identity(root)? {
            Some((log, known)) => {
                check_roots(root, known.as_ref(), roots)?;
                Ok(Self { root: root.to_owned(), log, roots: known.unwrap_or_default(), _lock: None })
            }
            None => {
                let message = format!("this is not a data folder: it has no streamgauge.json, path={}", root.display());
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }

    pub(crate) fn wal_dir(&self) -> PathBuf {
        self.root.join("wal")
    }

    pub(crate) fn tables_dir(&self) -> PathBuf {
        self.root.join("tables")
    }

    pub(crate) fn cache_dir(&self) -> PathBuf {
        self.root.join("cache")
    }

    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.root.join("spool")
    }

    /// The log as a source of rows.
    pub(crate) fn source(&self) -> String {
        source_of(self.log)
    }
}

/// A log as a source of rows.
pub(crate) fn source_of(log: u128) -> String {
    format!("wal/{}", uuid_text(log))
}

/// Where a dataset's table is below the root of the store.
pub(crate) fn table_root(tenant: &str, dataset: &Dataset) -> object_store::path::Path {
    object_store::path::Path::from_iter([tenant, dataset.name])
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| at(&path, "lock file cannot be made", error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(error) => Err(Error::new(
            ErrorKind::Fenced,
            format!(
                "another streamgauge has this data folder; stop it or choose another --data-dir, path={}",
                root.display()
            ),
        )
        .caused_by(error)),
    }
}

/// The log holds rows above what these tables have: with others it would start anew, and rows would be lost without a word.
fn check_roots(folder: &Path, known: Option<&Roots>, roots: &Roots) -> Result<()> {
    let known = |dataset: &str| match known {
        Some(known) => known.get(dataset).cloned(),
        None => Some(Root::Folder.to_string()),
    };
    let mut pairs = roots.iter().filter_map(|(dataset, root)| Some((dataset, root, known(dataset)?)));
    let Some((dataset, root, known)) = pairs.find(|(_, root, known)| known != *root) else { return Ok(()) };
    let message = format!(
        "this data folder belongs to tables elsewhere: name their place in the settings (`data`, `roots`; offline commands take \
         them with --config), or move the tables there and say so in streamgauge.json, dataset={dataset} tables={known} \
         settings={root} path={}",
        folder.display()
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

fn read_identity(root: &Path) -> Result<Option<(u128, Option<Roots>)>> {
    let path = root.join(IDENTITY);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(&path, "identity cannot be read", error)),
    };
    let damaged =
        || Error::new(ErrorKind::Corrupt, format!("data folder's identity is damaged, file={}", path.display()));
    let identity: Identity = serde_json::from_slice(&text).map_err(|error| damaged().caused_by(error))?;
    if identity.format != FORMAT {
        let message = format!(
            "the data folder has another on-disk format; use the version that wrote it, found={} known={FORMAT} file={}",
            identity.format,
            path.display()
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    if identity.restoring {
        let message = format!(
            "a restore into this data folder has not ended: wait for it; if it was killed, empty the folder (and the bucket of its \
             tables) and restore again, path={}",
            root.display()
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let log = uuid::Uuid::parse_str(&identity.log).map_err(|error| damaged().caused_by(error))?;
    Ok(Some((log.as_u128(), identity.roots)))
}

fn write_identity(root: &Path, disk: &dyn Disk, log: u128, roots: Roots) -> std::io::Result<()> {
    put_identity(root, disk, log, (roots, false))
}

/// Gives a folder the identity that it has from a restore on; until the restore is through, nobody opens it.
pub(crate) fn write_restored(root: &Path, disk: &dyn Disk, log: u128, restoring: bool) -> std::io::Result<()> {
    put_identity(root, disk, log, (Roots::new(), restoring))
}

fn put_identity(root: &Path, disk: &dyn Disk, log: u128, (roots, restoring): (Roots, bool)) -> std::io::Result<()> {
    let log = uuid::Uuid::from_u128(log).to_string();
    let identity = Identity { format: FORMAT, log, roots: Some(roots), restoring };
    let staged = root.join("streamgauge.json.new");
    let _ = disk.remove(&staged);
    let file = disk.create(&staged)?;
    file.write_at(serde_json::to_string(&identity)?.as_bytes(), 0)?;
    file.sync()?;
    disk.rename(&staged, &root.join(IDENTITY))?;
    disk.sync_dir(root)
}

fn at(path: &Path, what: &str, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}, path={}", path.display())).caused_by(error)
}
