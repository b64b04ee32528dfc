//! Blocks of files in a folder of the local disk: found again by path and number, the longest unused ones removed first.
//!
//! Filled and asked by [`cache`](super::cache), on blocking threads. One file per block: a header, then the bytes. Nothing is
//! synced: a block is used only if length and checksum are right, so a torn one is as good as none.
//!
//! Invariants: the files take at most the bytes given, and give way to the log when the disk runs full; nothing that goes wrong
//! here is an error to the caller, it is a block that is not there.
//! Not here: whether what is asked for may be kept at all. Why not the `foyer` crate: decision 0006.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use bytes::Bytes;
use hashbrown::HashMap;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

use crate::{
    Clock,
    disk::{FREE_BYTES_MIN, free_bytes},
};

/// Bytes of a file that are kept together. A needle reads a few pages of 64 KiB, a scan runs of blocks.
pub(super) const BLOCK_BYTES: u64 = 1 << 20;
/// No try to write for this long after one failed: a broken disk must cost neither time nor a line in the log per block.
const PAUSE_US: i64 = 60_000_000;
/// Number of a block without bytes, which says how large the file is: for files whose first block is not there.
pub(super) const NOTE: u64 = u64::MAX;
const MAGIC: [u8; 4] = *b"SGB1";
const HEADER_BYTES: usize = 4 + 4 + 16 + 8 + 8;

/// What is known of the file a block is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Of {
    /// Size of the whole file.
    pub size: u64,
    /// When it was written, milliseconds since the epoch.
    pub modified_ms: i64,
}

/// What `/metrics` says of the cache.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    pub(super) blocks_total: IntCounterVec,
    failures_total: IntCounter,
    bytes: IntGauge,
}

/// The blocks on disk.
#[derive(Debug)]
pub(crate) struct Blocks {
    folder: PathBuf,
    bytes_max: u64,
    free_bytes_min: u64,
    clock: Clock,
    index: Mutex<Index>,
    /// Files that were begun, for their names until they are whole.
    staged: AtomicU64,
    pub(super) metrics: Metrics,
}

/// Which blocks there are, and in which order they go.
#[derive(Debug, Default)]
struct Index {
    blocks: HashMap<u128, Entry>,
    /// Key by time of last use; the first goes first.
    order: BTreeMap<u64, u128>,
    bytes: u64,
    uses: u64,
    paused_until_us: i64,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    used: u64,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let blocks =
            Opts::new("streamgauge_cache_blocks_total", "Blocks of files asked for, by whether they were there.");
        let failures = "Reads and writes of the cache's folder that failed, and blocks that were damaged.";
        let metrics = Self {
            blocks_total: IntCounterVec::new(blocks, &["outcome"])?,
            failures_total: IntCounter::new("streamgauge_cache_failures_total", failures)?,
            bytes: IntGauge::new("streamgauge_cache_bytes", "Bytes of the local disk that the cache takes.")?,
        };
        registry.register(Box::new(metrics.blocks_total.clone()))?;
        registry.register(Box::new(metrics.failures_total.clone()))?;
        registry.register(Box::new(metrics.bytes.clone()))?;
        Ok(metrics)
    }
}

impl Index {
    fn insert(&mut self, key: u128, bytes: u64) {
        self.remove(key);
        self.uses += 1;
        self.blocks.insert(key, Entry { bytes, used: self.uses });
        self.order.insert(self.uses, key);
        self.bytes += bytes;
    }

    fn remove(&mut self, key: u128) {
        if let Some(entry) = self.blocks.remove(&key) {
            self.order.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }

    /// Marks a block as used; when, if it is there.
    fn touch(&mut self, key: u128) -> Option<u64> {
        let bytes = self.blocks.get(&key).map(|entry| entry.bytes)?;
        self.insert(key, bytes);
        Some(self.uses)
    }

    /// Removes a block that could not be read, unless it was written or read since.
    fn lose(&mut self, key: u128, used: u64) {
        if self.blocks.get(&key).is_some_and(|entry| entry.used == used) {
            self.remove(key);
        }
    }

    /// Takes out the longest unused blocks until `bytes` at most are left.
    fn shrink(&mut self, bytes: u64) -> Vec<u128> {
        let mut gone = Vec::new();
        while self.bytes > bytes
            && let Some((_, key)) = self.order.first_key_value().map(|(used, key)| (*used, *key))
        {
            self.remove(key);
            gone.push(key);
        }
        gone
    }
}

impl Blocks {
    /// Opens the folder and finds the blocks of earlier runs. If that fails, there are none and none are kept for a while.
    pub(super) fn open(folder: PathBuf, bytes_max: u64, clock: Clock, metrics: Metrics) -> Self {
        Self::open_with(folder, bytes_max, FREE_BYTES_MIN, clock, metrics)
    }

    fn open_with(folder: PathBuf, bytes_max: u64, free_bytes_min: u64, clock: Clock, metrics: Metrics) -> Self {
        let blocks = Self {
            folder,
            bytes_max,
            free_bytes_min,
            clock,
            index: Mutex::default(),
            staged: AtomicU64::new(0),
            metrics,
        };
        match blocks.scan() {
            Ok(found) => {
                let mut index = blocks.index.lock();
                found.into_iter().for_each(|(_, key, bytes)| index.insert(key, bytes));
            }
            Err(error) => blocks.failed("the cache's folder cannot be read", &error),
        }
        blocks.shrink(bytes_max);
        blocks
    }

    /// Blocks on disk, the longest unused ones first; what was being written when a process ended is removed.
    fn scan(&self) -> io::Result<Vec<(SystemTime, u128, u64)>> {
        fs::create_dir_all(&self.folder)?;
        let mut found = Vec::new();
        for shelf in fs::read_dir(&self.folder)? {
            let shelf = shelf?;
            if !shelf.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(shelf.path())? {
                let file = file?;
                let name = file.file_name();
                match name.to_str().filter(|name| name.len() == 32).map(|name| u128::from_str_radix(name, 16)) {
                    Some(Ok(key)) => {
                        let meta = file.metadata()?;
                        found.push((meta.modified()?, key, meta.len()));
                    }
                    _ => fs::remove_file(file.path())?,
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// A block, if it is there and intact.
    pub(super) fn get(&self, path: &str, number: u64) -> Option<(Of, Bytes)> {
        let key = key(path, number);
        let used = self.index.lock().touch(key)?;
        let file = self.file(key);
        let block = fs::read(&file).and_then(|bytes| {
            decode(bytes.into(), key, number).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "damaged"))
        });
        match block {
            Ok(block) => Some(block),
            Err(error) => {
                self.index.lock().lose(key, used);
                // Evicted meanwhile by another thread is no failure.
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(file = %file.display(), %error, "a block of the cache cannot be used; reading the bucket");
                    self.metrics.failures_total.inc();
                    let _ = fs::remove_file(&file);
                }
                None
            }
        }
    }

    /// What is known of a file.
    pub(super) fn of(&self, path: &str) -> Option<Of> {
        [NOTE, 0].into_iter().find_map(|number| self.get(path, number)).map(|(of, _)| of)
    }

    /// Keeps a block, if the disk takes it.
    pub(super) fn put(&self, path: &str, number: u64, of: Of, bytes: &[u8]) {
        let size = (HEADER_BYTES + bytes.len()) as u64;
        if size > self.bytes_max || self.index.lock().paused_until_us > self.clock.now_us() {
            return;
        }
        let key = key(path, number);
        match self.write(key, of, bytes) {
            Ok(true) => {
                self.index.lock().insert(key, size);
                self.shrink(self.bytes_max);
            }
            // The disk runs full: the cache gives back twice what it was to take.
            Ok(false) => {
                let bytes = self.index.lock().bytes;
                self.shrink(bytes.saturating_sub(2 * BLOCK_BYTES));
            }
            Err(error) => self.failed("a block of the cache cannot be written", &error),
        }
    }

    /// False if the disk has too little room.
    fn write(&self, key: u128, of: Of, bytes: &[u8]) -> io::Result<bool> {
        let free = free_bytes(&self.folder).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            // Somebody emptied the data folder's caches while we run.
            fs::create_dir_all(&self.folder)?;
            free_bytes(&self.folder)
        })?;
        if free < self.free_bytes_min {
            return Ok(false);
        }
        let file = self.file(key);
        // Two readers may fetch one block at a time.
        let staged = file.with_extension(self.staged.fetch_add(1, Ordering::Relaxed).to_string());
        let encoded = encode(key, of, bytes);
        let written = fs::write(&staged, &encoded).or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                return Err(error);
            }
            // The first block of its shelf.
            fs::create_dir_all(file.parent().unwrap_or(&self.folder))?;
            fs::write(&staged, &encoded)
        });
        let written = written.and_then(|()| fs::rename(&staged, &file));
        if written.is_err() {
            let _ = fs::remove_file(&staged);
        }
        written.map(|()| true)
    }

    /// Makes room on the disk for what cannot be read again from elsewhere.
    pub(super) fn give_way(&self, bytes: u64) {
        let kept = self.index.lock().bytes;
        self.shrink(kept.saturating_sub(bytes));
    }

    fn shrink(&self, bytes: u64) {
        let gone = {
            let mut index = self.index.lock();
            let gone = index.shrink(bytes);
            self.metrics.bytes.set(i64::try_from(index.bytes).unwrap_or(i64::MAX));
            gone
        };
        for key in gone {
            let _ = fs::remove_file(self.file(key));
        }
    }

    fn failed(&self, what: &str, error: &io::Error) {
        tracing::warn!(folder = %self.folder.display(), %error, "{what}; reading buckets instead, trying again in a minute");
        self.metrics.failures_total.inc();
        self.index.lock().paused_until_us = self.clock.now_us() + PAUSE_US;
    }

    fn file(&self, key: u128) -> PathBuf {
        let name = format!("{key:032x}");
        // 256 shelves, as few file systems like ten thousand files in one folder.
        self.folder.join(&name[..2]).join(name)
    }
}

/// Names of files are random and never used twice, so that a block's key says all about it.
fn key(path: &str, number: u64) -> u128 {
    xxhash_rust::xxh3::xxh3_128(format!("{path}#{number}").as_bytes())
}

fn encode(key: u128, of: Of, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES + bytes.len());
    out.extend(MAGIC);
    out.extend([0; 4]);
    out.extend(key.to_le_bytes());
    out.extend(of.size.to_le_bytes());
    out.extend(of.modified_ms.to_le_bytes());
    out.extend(bytes);
    let sum = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&sum.to_le_bytes());
    out
}

/// None if it is not what was written under this key.
fn decode(block: Bytes, expected: u128, number: u64) -> Option<(Of, Bytes)> {
    let (magic, rest) = block.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (key, fields) = rest.split_first_chunk::<16>()?;
    let (size, fields) = fields.split_first_chunk::<8>()?;
    let (modified_ms, _) = fields.split_first_chunk::<8>()?;
    let of = Of { size: u64::from_le_bytes(*size), modified_ms: i64::from_le_bytes(*modified_ms) };
    let whole = *magic == MAGIC
        && u32::from_le_bytes(*sum) == crc32c::crc32c(rest)
        && u128::from_le_bytes(*key) == expected
        && (block.len() - HEADER_BYTES) as u64 == length(of.size, number);
    whole.then(|| (of, block.slice(HEADER_BYTES..)))
}

/// Bytes of a block of a file; the last one is shorter.
pub(super) fn length(size: u64, number: u64) -> u64 {
    size.saturating_sub(number.saturating_mul(BLOCK_BYTES)).min(BLOCK_BYTES)
}

/// Where the folder's blocks are, for tests that break them.
#[cfg(test)]
pub(super) fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let shelves = fs::read_dir(folder).unwrap().map(|shelf| shelf.unwrap().path());
    shelves.flat_map(|shelf| fs::read_dir(shelf).unwrap().map(|file| file.unwrap().path())).collect()
}

#[cfg(test)]
mod tests;
