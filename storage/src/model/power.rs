//! A disk that loses at a power cut what was never synced: contents, names, or both.
//!
//! Works on real files and remembers what is not durable: for each file its content at the last sync, for each folder the names
//! that changed since it was synced. A cut takes back each of them or not, as a seed says, which covers the nasty case of a
//! durable name over an empty file. A process can be made to die at any of its calls: from there on none of them does anything.
//!
//! The real disk is never synced: what is durable is decided here. Files are as old as the clock of the test says.

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    disk::{Disk, DiskFile, LocalDisk},
    test_rows::clock,
};

#[derive(Debug)]
pub(crate) struct PowerDisk {
    lossy: Arc<Mutex<Lossy>>,
    now_us: Arc<AtomicI64>,
}

#[derive(Debug, Default)]
struct Lossy {
    /// Content at the last sync of files written since, by inode.
    unsynced: BTreeMap<u64, (PathBuf, Vec<u8>)>,
    /// Changes of names by folder, oldest first.
    names: BTreeMap<PathBuf, Vec<Name>>,
    /// Calls until the process dies, and who is told.
    dies: Option<(u32, Arc<Notify>)>,
}

#[derive(Debug)]
enum Name {
    Made(PathBuf),
    /// A file that was taken away, with its content.
    Gone(PathBuf, Vec<u8>),
}

#[derive(Debug)]
struct PowerFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    inode: u64,
    lossy: Arc<Mutex<Lossy>>,
    now_us: Arc<AtomicI64>,
}

impl PowerDisk {
    pub(crate) fn new(now_us: Arc<AtomicI64>) -> Self {
        Self { lossy: Arc::default(), now_us }
    }

    /// The process dies at the call after so many more.
    pub(crate) fn die_after(&self, calls: u32, died: Arc<Notify>) {
        self.lossy.lock().dies = Some((calls, died));
    }

    /// A process that calls from here on lives.
    pub(crate) fn revive(&self) {
        self.lossy.lock().dies = None;
    }

    /// Takes back what was not durable, each thing or not by the seed.
    pub(crate) fn cut_power(&self, seed: u64) {
        let mut state = seed | 1;
        let mut lose = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 62 != 0
        };
        let lossy = {
            let mut lossy = self.lossy.lock();
            let (unsynced, names) = (std::mem::take(&mut lossy.unsynced), std::mem::take(&mut lossy.names));
            Lossy { unsynced, names, dies: None }
        };
        for (inode, (path, durable)) in lossy.unsynced {
            if lose() && fs::metadata(&path).is_ok_and(|found| found.ino() == inode) {
                fs::write(&path, durable).unwrap();
            }
        }
        for names in lossy.names.into_values() {
            // Changes of one folder become durable in order: a lost one takes the later ones with it.
            let from = names.iter().position(|_| lose()).unwrap_or(names.len());
            for name in names.into_iter().skip(from).rev() {
                match name {
                    Name::Made(path) if path.is_dir() => drop(fs::remove_dir_all(path)),
                    Name::Made(path) => drop(fs::remove_file(path)),
                    Name::Gone(path, content) => drop(fs::write(path, content)),
                }
            }
        }
    }

    fn note(&self, path: &Path, name: Name) {
        let folder = path.parent().unwrap().to_owned();
        self.lossy.lock().names.entry(folder).or_default().push(name);
    }

    fn file(&self, path: &Path, file: Arc<dyn DiskFile>) -> io::Result<Arc<dyn DiskFile>> {
        let inode = fs::metadata(path)?.ino();
        let (lossy, now_us) = (Arc::clone(&self.lossy), Arc::clone(&self.now_us));
        Ok(Arc::new(PowerFile { file, path: path.to_owned(), inode, lossy, now_us }))
    }
}

/// Is the process still there that calls?
fn lives(lossy: &Mutex<Lossy>) -> io::Result<()> {
    match &mut lossy.lock().dies {
        Some((0, died)) => {
            died.notify_one();
            Err(io::Error::other("the process is dead"))
        }
        Some((left, _)) => {
            *left -= 1;
            Ok(())
        }
        None => Ok(()),
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        lives(&self.lossy)?;
        let file = LocalDisk.create(path)?;
        self.note(path, Name::Made(path.to_owned()));
        self.file(path, file)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        lives(&self.lossy)?;
        self.file(path, LocalDisk.open(path)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        lives(&self.lossy)?;
        LocalDisk.link(from, to)?;
        self.note(to, Name::Made(to.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        lives(&self.lossy)?;
        let (moved, replaced) = (fs::read(from)?, fs::read(to).ok());
        LocalDisk.rename(from, to)?;
        self.note(to, replaced.map_or(Name::Made(to.to_owned()), |old| Name::Gone(to.to_owned(), old)));
        self.note(from, Name::Gone(from.to_owned(), moved));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        lives(&self.lossy)?;
        let content = fs::read(path)?;
        LocalDisk.remove(path)?;
        self.note(path, Name::Gone(path.to_owned(), content));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        lives(&self.lossy)?;
        let new = !path.is_dir();
        LocalDisk.create_dir(path)?;
        if new {
            self.note(path, Name::Made(path.to_owned()));
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        lives(&self.lossy)?;
        fs::metadata(path)?;
        self.lossy.lock().names.remove(path);
        Ok(())
    }
}

impl PowerFile {
    fn before_write(&self) -> io::Result<()> {
        lives(&self.lossy)?;
        let mut lossy = self.lossy.lock();
        let content = || (self.path.clone(), fs::read(&self.path).unwrap_or_default());
        lossy.unsynced.entry(self.inode).or_insert_with(content);
        Ok(())
    }
}

impl DiskFile for PowerFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.before_write()?;
        self.file.write_at(bytes, offset)
    }

    fn preallocate(&self, size: u64) -> io::Result<()> {
        self.before_write()?;
        self.file.preallocate(size)
    }

    fn set_len(&self, size: u64) -> io::Result<()> {
        self.before_write()?;
        self.file.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        lives(&self.lossy)?;
        let since = Duration::from_micros(self.now_us.load(Ordering::Relaxed).unsigned_abs());
        fs::File::open(&self.path)?.set_modified(SystemTime::UNIX_EPOCH + since)?;
        self.lossy.lock().unsynced.remove(&self.inode);
        Ok(())
    }
}

#[test]
fn only_what_was_synced_survives_a_cut_that_takes_everything() {
    let dir = tempfile::tempdir().unwrap();
    let disk = PowerDisk::new(clock());
    let (kept, lost) = (dir.path().join("kept"), dir.path().join("lost"));
    let file = disk.create(&kept).unwrap();
    file.write_at(b"durable", 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(dir.path()).unwrap();
    file.write_at(b"!!", 7).unwrap();
    disk.create(&lost).unwrap().write_at(b"x", 0).unwrap();
    for seed in 0..64 {
        disk.cut_power(seed);
        if !lost.exists() && fs::read(&kept).unwrap() == b"durable" {
            return;
        }
        file.write_at(b"!!", 7).unwrap();
        let _ = fs::remove_file(&lost);
        disk.create(&lost).unwrap().write_at(b"x", 0).unwrap();
    }
    panic!("no seed took everything");
}

/// A process dies between write and sync: its record is read back from the page cache, so opening makes it durable before
/// anyone builds on it.
#[test]
fn what_a_restart_read_back_survives_a_later_power_cut() {
    use crate::wal::{
        payload,
        recovery::{self, Committed},
        segment, segment_name,
    };
    for seed in 0..32 {
        let dir = tempfile::tempdir().unwrap();
        let disk = PowerDisk::new(clock());
        let batch = crate::Batch::append(
            schemas::samples(),
            crate::test_rows::samples(&[("up".into(), 1, 1000, 1.0)]),
            crate::Lane::InOrder,
        );
        let mut record = Vec::new();
        assert!(segment::write_record(&mut record, 1, 0, |out| payload::encode(&[batch], out)));
        let file = disk.create(&dir.path().join(segment_name(1))).unwrap();
        file.preallocate(4096).unwrap();
        file.write_at(&segment::header(7, 1), 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(dir.path()).unwrap();
        file.write_at(&record, segment::HEADER_BYTES as u64).unwrap();

        let read = || recovery::read(dir.path(), 7, &schemas::all(), &Committed::default()).unwrap();
        let found = read();
        assert_eq!(found.appends.len(), 1);
        found.repair.apply(&disk, dir.path()).unwrap();
        disk.cut_power(seed);
        assert_eq!(read().appends.len(), 1, "seed {seed}");
    }
}
