//! A folder or a bucket that is named on the command line: where backups are kept, and where tables are restored to.

use std::{fmt, fs, path::PathBuf, sync::Arc};

use futures::TryStreamExt;
use object_store::{ObjectStore, local::LocalFileSystem};
use prometheus::Registry;

use crate::{
    Env, Error, ErrorKind, Result, Root, S3,
    disk::LocalDisk,
    store::{self, local::FolderStore},
};

/// A folder or a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket, and a prefix in it.
    Bucket(Root),
}

impl Location {
    /// Reads `s3://bucket/prefix`, or the path of a folder.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.split_once("://") {
            Some(("s3", _)) => Root::parse(text).map(Self::Bucket),
            Some((scheme, _)) => {
                Err(format!("`{scheme}://` is not known here: name a folder, or a bucket like s3://bucket/prefix"))
            }
            None if text.is_empty() => Err("no folder is named".to_owned()),
            None => Ok(Self::Folder(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Bucket(root) => write!(f, "{root}"),
        }
    }
}

/// Opens a place as a store whose puts are durable.
pub(super) fn open(place: &Location, s3: &S3, env: &Env, make: bool) -> Result<Arc<dyn ObjectStore>> {
    match place {
        Location::Folder(folder) => {
            let failed = |what: &str| Error::new(ErrorKind::Unavailable, format!("{what}, path={}", folder.display()));
            if make {
                fs::create_dir_all(folder).map_err(|error| failed("folder cannot be made").caused_by(error))?;
            }
            let store = FolderStore::open(folder.clone(), Arc::new(LocalDisk), env.random.clone());
            let hint = "folder cannot be used; mount its disk, or make it if it is meant to be new";
            Ok(Arc::new(store.map_err(|error| failed(hint).caused_by(error))?))
        }
        // Nobody asks for metrics of a command.
        Location::Bucket(root) => store::open_bucket(root, s3, &env.clock, &Registry::new()),
    }
}

/// Where a backup is restored to: tables, and the data folder with what belongs beside them.
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) tables: Arc<dyn ObjectStore>,
    /// Are the tables in the data folder?
    pub(super) inside: bool,
    pub(super) folder: Arc<dyn ObjectStore>,
    pub(super) data_dir: PathBuf,
}

impl Target {
    /// Opens an empty place: a folder that becomes a data folder with tables in it, or with its tables in a bucket.
    ///
    /// # Errors
    /// `Invalid` if anything is there.
    pub async fn open(data_dir: PathBuf, bucket: Option<Root>, s3: &S3, env: &Env) -> Result<Self> {
        // Folders without a file are of no harm.
        if data_dir.exists() && LocalFileSystem::new_with_prefix(&data_dir)?.list(None).try_next().await?.is_some() {
            return Err(not_empty(&data_dir.display().to_string()));
        }
        let bucket = match bucket.map(Location::Bucket) {
            None => None,
            Some(place) => {
                let store = open(&place, s3, env, false)?;
                if store.list(None).try_next().await?.is_some() {
                    return Err(not_empty(&place.to_string()));
                }
                Some(store)
            }
        };
        let made = |folder: PathBuf| open(&Location::Folder(folder), s3, env, true);
        let (folder, inside) = (made(data_dir.clone())?, bucket.is_none());
        made(data_dir.join("wal"))?;
        let here = made(data_dir.join("tables"))?;
        let tables = bucket.unwrap_or(here);
        Ok(Self { tables, inside, folder, data_dir })
    }
}

fn not_empty(place: &str) -> Error {
    let message = format!(
        "there is something already, and a restore writes over nothing: name an empty place, or move away what is there, place={place}"
    );
    Error::new(ErrorKind::Invalid, message)
}
