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
            if make {
                fs::create_dir_all(folder).map_err(|error| {
                    let message = format!("folder cannot be made, path={}", folder.display());
                    Error::new(ErrorKind::Unavailable, message).caused_by(error)
                })?;
            }
            let store = FolderStore::open(folder.clone(), Arc::new(LocalDisk), env.random.clone());
            Ok(Arc::new(store.map_err(|error| {
                let message = format!("folder cannot be used, path={}", folder.display());
                Error::new(ErrorKind::Unavailable, message).caused_by(error)
            })?))
        }
        // Nobody asks for metrics of a command.
        Location::Bucket(root) => store::open_bucket(root, s3, &env.clock, &Registry::new()),
    }
}

/// Where tables are restored to; there is nothing yet.
#[derive(Debug, Clone)]
pub struct Target {
    pub(super) tables: Arc<dyn ObjectStore>,
    /// The data folder, for what is beside the tables.
    pub(super) folder: Option<Arc<dyn ObjectStore>>,
}

impl Target {
    /// Opens an empty place: a folder becomes a data folder with the tables in it; of a bucket's tables, what belongs beside them goes
    /// to the data folder, if one is named.
    ///
    /// # Errors
    /// `Invalid` if anything is there.
    pub async fn open(place: &Location, data_dir: Option<PathBuf>, s3: &S3, env: &Env) -> Result<Self> {
        let (data_dir, bucket) = match place {
            Location::Folder(folder) => (Some(folder.clone()), None),
            Location::Bucket(_) => (data_dir, Some(open(place, s3, env, false)?)),
        };
        // Folders without a file are of a restore that found nothing to restore.
        if let Some(data_dir) = data_dir.as_ref().filter(|data_dir| data_dir.exists())
            && LocalFileSystem::new_with_prefix(data_dir)?.list(None).try_next().await?.is_some()
        {
            return Err(not_empty(&data_dir.display().to_string()));
        }
        if let Some(bucket) = &bucket
            && bucket.list(None).try_next().await?.is_some()
        {
            return Err(not_empty(&place.to_string()));
        }
        let inside = |folder: PathBuf| open(&Location::Folder(folder), s3, env, true);
        let folder = data_dir.clone().map(inside).transpose()?;
        let tables = match (bucket, data_dir) {
            (Some(bucket), _) => bucket,
            (None, Some(data_dir)) => inside(data_dir.join("tables"))?,
            (None, None) => return Err(Error::new(ErrorKind::Internal, "a restore has no target")),
        };
        Ok(Self { tables, folder })
    }
}

fn not_empty(place: &str) -> Error {
    let message = format!(
        "there is something already, and a restore writes over nothing: name an empty place, or move away what is there, place={place}"
    );
    Error::new(ErrorKind::Invalid, message)
}
