//! The few calls that change a local disk, each with its durability stated.
//!
//! Used by the log, the local store and the spool; reads go straight to the file system. A trait, because the power-loss tests put a
//! disk here that forgets what was never synced.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};

/// Calls that change a disk.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Creates a file that must not exist. Neither its content nor its name is durable yet.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file a second name, which must not exist.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Moves a file over another.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Takes a name away.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates one folder; its parent must exist. No error if it exists.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// An open file that is written.
pub(crate) trait DiskFile: fmt::Debug + Send + Sync {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes room for `size` bytes, so that later writes within it need no metadata update; they read as zeros.
    fn preallocate(&self, size: u64) -> io::Result<()>;
    /// Cuts or extends to `size`.
    fn set_len(&self, size: u64) -> io::Result<()>;
    /// Makes the content durable.
    fn sync(&self) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalDisk;

impl Disk for LocalDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OpenOptions::new().write(true).open(path)?))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn preallocate(&self, size: u64) -> io::Result<()> {
        use rustix::{fs::FallocateFlags, io::Errno};
        match rustix::fs::fallocate(self, FallocateFlags::empty(), 0, size) {
            // Not every file system preallocates; a sparse file is as correct, only slower.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => File::set_len(self, size),
            other => Ok(other?),
        }
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        File::set_len(self, size)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Room that caches and spools leave on a disk, for the log and for what else lives there.
pub const FREE_BYTES_MIN: u64 = 1 << 30;

/// Bytes that are free on the disk of a folder.
///
/// # Errors
/// If the folder is not there.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Creates a folder and its parents below `root`, which must exist, and makes all of them durable: those that are there too,
/// as whoever made them may have died before the sync.
pub(crate) fn create_dir_durable(disk: &dyn Disk, root: &Path, path: &Path) -> io::Result<()> {
    if path == root {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(root);
    create_dir_durable(disk, root, parent)?;
    disk.create_dir(path)?;
    disk.sync_dir(parent)
}
