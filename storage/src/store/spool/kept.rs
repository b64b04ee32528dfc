//! What waits for buckets, as files of the data folder.
//!
//! Written, read and removed by [`spool`](super), on blocking threads. An object is two files: `<number>-<name>` holds its bytes
//! as they are, so that whatever reads Parquet can read them; `<number>.put` says where they go, how long they are and what their
//! checksum is. The second is written when the first is durable, and removed before it: an object is there if its `.put` is.
//!
//! Invariants: an object that was written is there after a power cut, or never was; numbers grow, also over restarts; the bytes
//! given and the room on the disk are never passed. Not here: order and uploads.

use std::{
    fs::{self, File},
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path as FilePath, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use object_store::{ObjectMeta, PutPayload, path::Path};
use parking_lot::Mutex;
use prometheus::{IntCounterVec, IntGaugeVec, Opts, Registry};
use serde::{Deserialize, Serialize};

use super::super::blocks::Blocks;
use crate::{
    Clock, Error, ErrorKind, Result,
    disk::{Disk, create_dir_durable, free_bytes},
};

/// Version of the files, so that another one can tell.
const FORMAT: u32 = 1;
/// Bytes of a file that are read at a time when it is checked.
const CHECKED_BYTES: usize = 1 << 20;
/// Longest part of an object's name that the name of its file repeats; file systems take 255 bytes.
const NAME_BYTES_MAX: usize = 150;

/// What `/metrics` says of spools, by root.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    bytes: IntGaugeVec,
    files: IntGaugeVec,
    pub(super) oldest_seconds: IntGaugeVec,
    pub(super) uploads_total: IntCounterVec,
    pub(super) failures_total: IntCounterVec,
    pub(super) refused_total: IntCounterVec,
    pub(super) stopped: IntGaugeVec,
}

/// Where an object goes that waits in a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub number: u64,
    /// The bucket and the prefix, as text.
    pub root: String,
    /// Path below the root.
    pub path: Path,
    /// Must it not be there yet?
    pub create: bool,
    pub size: u64,
    pub since_ms: i64,
    crc32c: u32,
    /// Name of the file with its bytes.
    name: String,
}

/// An entry as its `.put` has it.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    format: u32,
    root: String,
    path: String,
    create: bool,
    size: u64,
    crc32c: u32,
    since_ms: i64,
    name: String,
}

/// The folder, shared by all roots.
#[derive(Debug)]
pub(super) struct Kept {
    pub folder: PathBuf,
    disk: Arc<dyn Disk>,
    pub clock: Clock,
    bytes_max: u64,
    free_bytes_min: u64,
    /// Gives way when the disk runs full.
    blocks: Option<Arc<Blocks>>,
    state: Mutex<State>,
    pub metrics: Metrics,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Of objects that are there, and of those being written.
    bytes: u64,
}

/// Bounds of the folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub bytes_max: u64,
    pub free_bytes_min: u64,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["root"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounterVec, prometheus::Error> {
            let counter = IntCounterVec::new(Opts::new(name, help), &["root"])?;
            registry.register(Box::new(counter.clone()))?;
            Ok(counter)
        };
        Ok(Self {
            bytes: gauge("streamgauge_store_spool_bytes", "Bytes that wait on the local disk for a bucket.")?,
            files: gauge("streamgauge_store_spool_files", "Objects that wait on the local disk for a bucket.")?,
            oldest_seconds: gauge("streamgauge_store_spool_oldest_seconds", "How long the oldest of them has waited.")?,
            uploads_total: counter("streamgauge_store_spool_uploads_total", "Objects uploaded after a wait.")?,
            failures_total: counter("streamgauge_store_spool_failures_total", "Tries to upload one that failed.")?,
            refused_total: counter(
                "streamgauge_store_spool_refused_total",
                "Puts that found neither the bucket nor room on the local disk; they are tried again.",
            )?,
            stopped: gauge(
                "streamgauge_store_spool_stopped",
                "1 if uploads have ended for good: another process commits, or a file is damaged. The log says more.",
            )?,
        })
    }

    /// So that a root is there before anything happens to it.
    pub(super) fn begin(&self, root: &str) {
        let root = [root];
        for gauge in [&self.bytes, &self.files, &self.oldest_seconds, &self.stopped] {
            gauge.with_label_values(&root).set(0);
        }
        for counter in [&self.uploads_total, &self.failures_total, &self.refused_total] {
            counter.with_label_values(&root).reset();
        }
    }

    pub(super) fn came(&self, entry: &Entry) {
        self.files.with_label_values(&[&entry.root]).inc();
        self.bytes.with_label_values(&[&entry.root]).add(signed(entry.size));
    }

    pub(super) fn went(&self, entry: &Entry) {
        self.files.with_label_values(&[&entry.root]).dec();
        self.bytes.with_label_values(&[&entry.root]).sub(signed(entry.size));
    }
}

impl Entry {
    pub(super) fn meta(&self) -> ObjectMeta {
        ObjectMeta {
            location: self.path.clone(),
            last_modified: chrono::DateTime::from_timestamp_millis(self.since_ms).unwrap_or_default(),
            size: self.size,
            e_tag: None,
            version: None,
        }
    }

    fn note(&self) -> Note {
        Note {
            format: FORMAT,
            root: self.root.clone(),
            path: self.path.to_string(),
            create: self.create,
            size: self.size,
            crc32c: self.crc32c,
            since_ms: self.since_ms,
            name: self.name.clone(),
        }
    }
}

impl Kept {
    /// Opens the folder for writing; gives what waits there, checked, the oldest first. What was being written is removed.
    pub(super) fn open(
        (folder, blocks): (PathBuf, Option<Arc<Blocks>>),
        disk: Arc<dyn Disk>,
        bounds: Bounds,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<(Self, Vec<Entry>)> {
        let failed = |error| at(&folder, "the spool's folder cannot be made", error);
        create_dir_durable(disk.as_ref(), folder.parent().unwrap_or(&folder), &folder).map_err(failed)?;
        let found = scan(&folder)?;
        for entry in &found {
            verify(&folder, entry)?;
        }
        clear(&folder, &found, disk.as_ref()).map_err(|error| at(&folder, "the spool cannot be cleared", error))?;
        let state = State {
            next: found.last().map_or(0, |entry| entry.number + 1),
            bytes: found.iter().map(|entry| entry.size).sum(),
        };
        let Bounds { bytes_max, free_bytes_min } = bounds;
        let state = Mutex::new(state);
        Ok((Self { folder, disk, clock, bytes_max, free_bytes_min, blocks, state, metrics }, found))
    }

    /// Is anything ever kept?
    pub(super) fn takes(&self) -> bool {
        self.bytes_max > 0
    }

    /// Writes an object, durably. An error says if there is too little room.
    pub(super) fn write(&self, root: &str, path: &Path, create: bool, payload: &PutPayload) -> io::Result<Entry> {
        let size = payload.content_length() as u64;
        let number = self.reserve(size)?;
        let tail: String = path.filename().unwrap_or_default().chars().filter(char::is_ascii).collect();
        let entry = Entry {
            number,
            root: root.to_owned(),
            path: path.clone(),
            create,
            size,
            since_ms: self.clock.now_ms(),
            crc32c: payload.iter().fold(0, |sum, chunk| crc32c::crc32c_append(sum, chunk)),
            name: format!("{number:020}-{}", &tail[tail.len().saturating_sub(NAME_BYTES_MAX)..]),
        };
        let written = self.write_files(&entry, payload);
        if let Err(error) = written {
            for file in [staged(&self.folder, number), put(&self.folder, number), self.folder.join(&entry.name)] {
                let _ = self.disk.remove(&file);
            }
            self.state.lock().bytes -= size;
            return Err(error);
        }
        self.metrics.came(&entry);
        Ok(entry)
    }

    fn write_files(&self, entry: &Entry, payload: &PutPayload) -> io::Result<()> {
        let file = self.disk.create(&self.folder.join(&entry.name))?;
        let mut offset = 0;
        for chunk in payload.iter() {
            file.write_at(chunk, offset)?;
            offset += chunk.len() as u64;
        }
        file.sync()?;
        // Before its note is there: a note without the bytes would be taken for damage.
        self.disk.sync_dir(&self.folder)?;
        let staged = staged(&self.folder, entry.number);
        let file = self.disk.create(&staged)?;
        let text = serde_json::to_string(&entry.note())?;
        file.write_at(format!("{:08x} {text}\n", crc32c::crc32c(text.as_bytes())).as_bytes(), 0)?;
        file.sync()?;
        self.disk.rename(&staged, &put(&self.folder, entry.number))?;
        self.disk.sync_dir(&self.folder)
    }

    /// Takes room for an object; its number.
    fn reserve(&self, size: u64) -> io::Result<u64> {
        let full = |why: String| Err(io::Error::new(io::ErrorKind::StorageFull, why));
        let mut free = free_bytes(&self.folder)?;
        let needed = self.free_bytes_min.saturating_add(size);
        if free < needed
            && let Some(blocks) = &self.blocks
        {
            blocks.give_way(needed - free);
            free = free_bytes(&self.folder)?;
        }
        if free < needed {
            return full(format!("the disk runs full, free_bytes={free} free_bytes_min={}", self.free_bytes_min));
        }
        let mut state = self.state.lock();
        if state.bytes.saturating_add(size) > self.bytes_max {
            return full(format!("the spool is full, bytes={} spool_bytes={}", state.bytes, self.bytes_max));
        }
        state.bytes += size;
        state.next += 1;
        Ok(state.next - 1)
    }

    /// Removes an object that is in its bucket.
    pub(super) fn remove(&self, entry: &Entry) -> io::Result<()> {
        let mut removed = self.disk.remove(&put(&self.folder, entry.number));
        // Durable before the bytes go: a note without them would be taken for damage.
        removed = removed.and_then(|()| self.disk.sync_dir(&self.folder));
        removed = removed.and_then(|()| self.disk.remove(&self.folder.join(&entry.name)));
        self.state.lock().bytes -= entry.size;
        self.metrics.went(entry);
        removed
    }
}

/// All objects of a folder, the oldest first; none if there is no folder. What goes away meanwhile is left out.
pub(super) fn scan(folder: &FilePath) -> Result<Vec<Entry>> {
    let mut found = Vec::new();
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other.map_err(|error| at(folder, "the spool cannot be read", error))?,
    };
    for file in files {
        let file = file.map_err(|error| at(folder, "the spool cannot be read", error))?.path();
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(number) = name.strip_suffix(".put").and_then(|number| number.parse().ok()) else { continue };
        match fs::read(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&file, "the spool cannot be read", error)),
            Ok(note) => found.push(parse(&file, number, &note)?),
        }
    }
    found.sort_unstable_by_key(|entry| entry.number);
    Ok(found)
}

fn parse(file: &FilePath, number: u64, note: &[u8]) -> Result<Entry> {
    let parsed = || -> Option<Note> {
        let (sum, text) = std::str::from_utf8(note).ok()?.strip_suffix('\n')?.split_once(' ')?;
        let whole = u32::from_str_radix(sum, 16).ok()? == crc32c::crc32c(text.as_bytes());
        whole.then(|| serde_json::from_str(text).ok())?
    };
    let note = parsed().ok_or_else(|| damaged(file, "its note is not what was written"))?;
    if note.format != FORMAT {
        let message = format!(
            "the spool has another on-disk format; use the version that wrote it, found={} known={FORMAT} file={}",
            note.format,
            file.display()
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    let path = Path::parse(&note.path).map_err(|error| damaged(file, "its path is none").caused_by(error))?;
    let Note { root, create, size, crc32c, since_ms, name, .. } = note;
    Ok(Entry { number, root, path, create, size, since_ms, crc32c, name })
}

/// Are the bytes of an object those that were written?
fn verify(folder: &FilePath, entry: &Entry) -> Result<()> {
    let path = folder.join(&entry.name);
    let sum = || -> io::Result<Option<u32>> {
        let file = File::open(&path)?;
        if file.metadata()?.len() != entry.size {
            return Ok(None);
        }
        let (mut sum, mut offset, mut buffer) = (0, 0, vec![0; CHECKED_BYTES]);
        loop {
            let read = file.read_at(&mut buffer, offset)?;
            if read == 0 {
                return Ok(Some(sum));
            }
            sum = crc32c::crc32c_append(sum, &buffer[..read]);
            offset += read as u64;
        }
    };
    match sum() {
        Ok(Some(sum)) if sum == entry.crc32c => Ok(()),
        Ok(_) => Err(damaged(&path, "its bytes are not those that were written")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Err(damaged(&path, "its bytes are gone").caused_by(error))
        }
        Err(error) => Err(at(&path, "the spool cannot be read", error)),
    }
}

/// Removes what no object is: the rest of one that was being written or removed.
fn clear(folder: &FilePath, found: &[Entry], disk: &dyn Disk) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let ours = name.len() > 20 && name.bytes().take(20).all(|byte| byte.is_ascii_digit());
        if ours && !found.iter().any(|entry| entry.name == name || put_name(entry.number) == name) {
            match disk.remove(&path) {
                // What is gone already is cleared.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}

/// Bytes of an object; none if it is no longer there.
pub(super) fn read(folder: &FilePath, entry: &Entry, range: Range<u64>) -> io::Result<Option<Bytes>> {
    let file = match File::open(folder.join(&entry.name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = vec![0; usize::try_from(range.end - range.start).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(Some(bytes.into()))
}

/// All bytes of an object, checked.
pub(super) fn read_whole(folder: &FilePath, entry: &Entry) -> Result<Bytes> {
    let path = folder.join(&entry.name);
    match read(folder, entry, 0..entry.size) {
        Ok(Some(bytes)) if crc32c::crc32c(&bytes) == entry.crc32c => Ok(bytes),
        Ok(Some(_)) => Err(damaged(&path, "its bytes are not those that were written")),
        Ok(None) => Err(damaged(&path, "its bytes are gone")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(damaged(&path, "it is shorter than it was written").caused_by(error))
        }
        Err(error) => Err(at(&path, "the spool cannot be read", error)),
    }
}

fn put_name(number: u64) -> String {
    format!("{number:020}.put")
}

fn put(folder: &FilePath, number: u64) -> PathBuf {
    folder.join(put_name(number))
}

fn staged(folder: &FilePath, number: u64) -> PathBuf {
    folder.join(format!("{number:020}.new"))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn damaged(file: &FilePath, what: &str) -> Error {
    let message = format!(
        "what waits for a bucket is damaged: {what}; restore the file from a copy, or move the data folder away and start with a \
         new one, file={}",
        file.display()
    );
    Error::new(ErrorKind::Corrupt, message)
}

fn at(path: &FilePath, what: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("{what}, path={}", path.display())).caused_by(error)
}
