//! Keeps delivered bytes as they came, each file under the SHA-256 of its bytes: `raw/billing/<ab>/<abcd…>`.
//!
//! Called by loads before anything is decoded: what is loaded is read from here, so that it can be decoded again, and what comes over
//! the network has a place until it is. The same bytes are kept once. Invariants: a file has its name only when it is whole and synced;
//! what is asked for again begins its time anew; nothing is deleted but what nobody asked for in all that time.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};
use storage::{FREE_BYTES_MIN, free_bytes};

use crate::{Error, ErrorKind, Result};

/// Where files are until they are whole.
const INCOMING: &str = "incoming";
/// Bytes that are read at once: a file is read twice, for its digest and by its decoder.
const BUFFER: usize = 1 << 20;

/// Begin of a Parquet file.
const PARQUET: &[u8] = b"PAR1";
/// Bytes between two looks at how much of the disk is free.
const LOOK_BYTES: u64 = 64 << 20;

/// A folder of delivered files.
#[derive(Debug)]
pub struct Archive {
    folder: PathBuf,
    keep_us: i64,
    next: AtomicU64,
}

/// A file that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub digest: String,
}

/// A file that is being written.
pub struct Incoming {
    /// Of the archive.
    folder: PathBuf,
    path: PathBuf,
    file: File,
    digest: Sha256,
    bytes: u64,
    /// So many bytes may come until the disk is looked at.
    looked: u64,
}

impl Archive {
    /// Opens the folder, which is made if it is not there, and drops what was on its way when the process ended.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be written.
    pub fn open(folder: PathBuf, keep_us: i64) -> Result<Self> {
        let archive = Self { folder, keep_us, next: AtomicU64::new(0) };
        let incoming = archive.folder.join(INCOMING);
        // Nothing else is in there; without it, it is made.
        let _ = fs::remove_dir_all(&incoming);
        fs::create_dir_all(&incoming).map_err(|error| unwritable(&incoming, error))?;
        Ok(archive)
    }

    /// Begins a file.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be made.
    pub fn begin(&self) -> Result<Incoming> {
        let path = self.folder.join(INCOMING).join(self.next.fetch_add(1, Ordering::Relaxed).to_string());
        let file = File::create(&path).map_err(|error| unwritable(&path, error))?;
        Ok(Incoming { folder: self.folder.clone(), path, file, digest: Sha256::new(), bytes: 0, looked: 0 })
    }

    /// Keeps a copy of a file. Blocks.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be read, or the copy not written.
    pub fn keep(&self, path: &Path) -> Result<Kept> {
        let mut incoming = self.begin()?;
        chunks(path, |bytes| incoming.push(bytes))?;
        incoming.finish()
    }

    /// The file with a digest, if it is kept.
    #[must_use]
    pub fn find(&self, digest: &str) -> Option<PathBuf> {
        // A digest is a name here, so nothing else may be one.
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = self.folder.join(digest.get(..2)?).join(digest);
        (is_digest && path.is_file()).then_some(path)
    }

    /// Deletes files that nobody asked for, for as long as they are kept; says how many. Blocks.
    pub fn sweep(&self, now_us: i64) -> usize {
        let until = u64::try_from(now_us - self.keep_us).map(Duration::from_micros).unwrap_or_default();
        let is_old = |path: &Path| {
            let modified = path.metadata().and_then(|meta| meta.modified());
            modified.is_ok_and(|at| at.duration_since(UNIX_EPOCH).unwrap_or_default() < until)
        };
        let folders = entries(&self.folder).filter(|path| path.file_name().is_some_and(|name| name.len() == 2));
        let old = folders.flat_map(|folder| entries(&folder)).filter(|path| is_old(path));
        old.filter(|path| fs::remove_file(path).is_ok()).count()
    }
}

impl Incoming {
    /// Adds bytes. Blocks.
    ///
    /// # Errors
    /// `Unavailable` if they cannot be written, or would leave less of the disk than the log needs.
    pub fn push(&mut self, bytes: &[u8]) -> Result<()> {
        if self.bytes >= self.looked {
            self.looked = self.bytes + LOOK_BYTES;
            let free = free_bytes(&self.folder).map_err(|error| unwritable(&self.folder, error))?;
            if free < FREE_BYTES_MIN + LOOK_BYTES {
                let reason = format!("the disk is nearly full: make room and deliver it again free_bytes={free}");
                return Err(Error::new(ErrorKind::Unavailable, reason));
            }
        }
        self.file.write_all(bytes).map_err(|error| unwritable(&self.path, error))?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Syncs the file and gives it its name. Blocks.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub fn finish(self) -> Result<Kept> {
        let digest = hex(&self.digest.clone().finalize());
        let folder = self.folder.join(&digest[..2]);
        let path = folder.join(&digest);
        let put = || -> io::Result<()> {
            self.file.sync_all()?;
            fs::create_dir_all(&folder)?;
            // In the place of the same bytes, if they are kept already, with a time of today.
            fs::rename(&self.path, &path)?;
            File::open(&folder)?.sync_all()
        };
        put().map_err(|error| unwritable(&path, error))?;
        Ok(Kept { path, bytes: self.bytes, digest })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        // What has its name already is not here any more.
        let _ = fs::remove_file(&self.path);
    }
}

/// Size and SHA-256 of a file, which stays where it is. Blocks.
pub(super) fn look(path: &Path) -> Result<Kept> {
    let (mut digest, mut bytes) = (Sha256::new(), 0);
    chunks(path, |chunk| {
        digest.update(chunk);
        bytes += chunk.len() as u64;
        Ok(())
    })?;
    Ok(Kept { path: path.to_owned(), bytes, digest: hex(&digest.finalize()) })
}

/// Opens a file, which errors call by a name; is it Parquet?
pub(super) fn open(path: &Path, name: &str) -> Result<(File, bool)> {
    let unreadable = |error: io::Error| unreadable(Path::new(name), error);
    let mut begin = Vec::with_capacity(PARQUET.len());
    let file = File::open(path).map_err(unreadable)?;
    file.take(PARQUET.len() as u64).read_to_end(&mut begin).map_err(unreadable)?;
    Ok((File::open(path).map_err(unreadable)?, begin == PARQUET))
}

/// An id for a delivery that has none: a digest of the digests of its files.
pub(super) fn of_delivery<'a>(digests: impl Iterator<Item = &'a str>) -> String {
    let mut all = Sha256::new();
    digests.for_each(|digest| all.update(digest));
    format!("sha256:{}", hex(&all.finalize()))
}

pub(super) fn unreadable(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("file cannot be read: {error} path={}", path.display())).caused_by(error)
}

pub(super) fn unwritable(path: &Path, error: io::Error) -> Error {
    let reason = format!("delivered bytes cannot be kept: {error} path={}", path.display());
    Error::new(ErrorKind::Unavailable, reason).caused_by(error)
}

/// Names of a folder; none if it cannot be read.
pub(super) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()))
}

fn chunks(path: &Path, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut file = File::open(path).map_err(|error| unreadable(path, error))?;
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer).map_err(|error| unreadable(path, error))? {
            0 => return Ok(()),
            read => each(&buffer[..read])?,
        }
    }
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Lets a kept file's time begin anew.
pub(super) fn touch(path: &Path, now_us: i64) {
    let now = UNIX_EPOCH + u64::try_from(now_us).map(Duration::from_micros).unwrap_or_default();
    // What cannot be touched is deleted early at worst, and delivered again.
    let _ = File::options().write(true).open(path).and_then(|file| file.set_modified(now));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_kept_once_and_for_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let archive = Archive::open(folder.path().join("raw"), 10_000_000).unwrap();
        let kept: Vec<Kept> = ["one", "two", "one"]
            .iter()
            .map(|text| {
                let mut incoming = archive.begin().unwrap();
                incoming.push(text.as_bytes()).unwrap();
                incoming.finish().unwrap()
            })
            .collect();
        assert_eq!((&kept[0], kept[1].bytes), (&kept[2], 3));
        assert_eq!(fs::read(archive.find(&kept[1].digest).unwrap()).unwrap(), b"two");
        assert_eq!(archive.find("../../etc/passwd"), None);
        touch(&kept[0].path, 5_000_000);
        touch(&kept[1].path, 20_000_000);
        assert_eq!(archive.sweep(15_000_000), 0);
        assert_eq!(archive.sweep(15_000_001), 1);
        assert!(archive.find(&kept[0].digest).is_none() && archive.find(&kept[1].digest).is_some());
    }

    #[test]
    fn what_did_not_come_to_its_end_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("raw");
        let archive = Archive::open(raw.clone(), 1).unwrap();
        archive.begin().unwrap().push(b"half").unwrap();
        assert_eq!(entries(&raw.join(INCOMING)).count(), 0);
        let mut cut = archive.begin().unwrap();
        cut.push(b"half").unwrap();
        std::mem::forget(cut);
        assert_eq!(entries(&raw.join(INCOMING)).count(), 1);
        drop(Archive::open(raw.clone(), 1).unwrap());
        assert_eq!(entries(&raw.join(INCOMING)).count(), 0);
    }
}
