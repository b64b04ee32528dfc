//! The write-ahead log: makes appends durable in one order, then hands them to the writers in that order.
//!
//! Called by [`crate::Storage::append`]; hands each record to the writers of its datasets. One thread owns the log: it takes
//! what waits, encodes it, writes it with one call, syncs once (group commit; no timer: the next sync starts when the last one
//! ends) and forwards. A segment that cannot be made, on a full disk say, refuses what waits and is tried again with what comes
//! next. After a failed write or sync the log is poisoned: nothing is acknowledged until a restart has read back
//! what is really there.
//!
//! Invariants: records have consecutive LSNs; only this thread forwards, in LSN order, after the sync; a record holds all rows
//! of one append. Byte layout: [`segment`], [`payload`], [`codec`].

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{
    Batch, Clock, Error, ErrorKind, Latency, Probe, Write,
    disk::{Disk, DiskFile},
    error::Failure,
    ticket::Ticket,
    writer::{Message, Record},
};

pub(crate) mod codec;
pub(crate) mod payload;
pub(crate) mod recovery;
pub(crate) mod segment;

/// One append on its way to the log.
pub(crate) struct Entry {
    /// What the log had refused when whoever appends last looked, see [`crate::Storage::generation`].
    pub generation: u64,
    pub batches: Vec<Batch>,
    pub ticket: Arc<Ticket>,
}

/// What the log thread needs.
pub(crate) struct Log {
    pub disk: Arc<dyn Disk>,
    pub dir: PathBuf,
    /// Identity of the log.
    pub id: u128,
    pub next_lsn: u64,
    pub segment_bytes: u64,
    pub writers: HashMap<&'static str, mpsc::Sender<Message>>,
    pub segments: Arc<Segments>,
    pub clock: Clock,
    pub probe: Probe,
    pub metrics: Metrics,
    pub failure: Arc<Failure>,
    /// Grows when appends are refused.
    pub generation: Arc<AtomicU64>,
}

/// Why a group is not written.
enum NotWritten {
    /// There is no room for a segment, or none can be made: nothing was written, and it may be tried again.
    NoSegment(io::Error),
    /// What is on disk is not known.
    Broken(io::Error),
}

/// What `/metrics` says of the log.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub sync_seconds: Latency,
    pub bytes_total: prometheus::IntCounter,
    pub records_total: prometheus::IntCounter,
    pub syncs_total: prometheus::IntCounter,
    pub refusing: prometheus::IntGauge,
}

/// The segments on disk, by first LSN; shared with the writers, which trim them.
#[derive(Debug, Default)]
pub(crate) struct Segments(Mutex<BTreeMap<u64, Segment>>);

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    /// Last position that holds rows of each dataset.
    last: BTreeMap<&'static str, i64>,
}

/// Bytes encoded before they are written and synced; bounds the memory of a group and the wait of its first entry.
const GROUP_BYTES: usize = 4 << 20;

/// Segments beyond which a dataset that pins the oldest commits early: a row of a quiet dataset must not keep gigabytes of
/// others' rows, which the next start would have to read.
const SEGMENTS_MAX: usize = 8;

struct Current {
    file: Arc<dyn DiskFile>,
    offset: u64,
    size: u64,
}

impl Log {
    /// Takes entries until their senders are gone; run on a thread of its own.
    pub(crate) fn run(mut self, mut entries: mpsc::Receiver<Entry>) {
        let mut current: Option<Current> = None;
        let mut poison: Option<String> = None;
        let mut group = Vec::new();
        let mut buffer = Vec::new();
        while let Some(first) = entries.blocking_recv() {
            if let Some(reason) = &poison {
                first.ticket.fail(poisoned(reason));
                continue;
            }
            let first_lsn = self.next_lsn;
            buffer.clear();
            let mut next = Some(first);
            while let Some(entry) = next {
                self.encode(entry, first_lsn, &mut group, &mut buffer);
                next = if buffer.len() < GROUP_BYTES { entries.try_recv().ok() } else { None };
            }
            match self.write(&mut current, first_lsn, &buffer) {
                Ok(()) => self.forward(&mut group),
                Err(NotWritten::NoSegment(error)) => {
                    current = None;
                    self.refuse(&mut group, first_lsn, &error);
                }
                Err(NotWritten::Broken(error)) => {
                    tracing::error!(%error, "the log cannot be written; refusing writes until a restart");
                    self.failure.set(&poisoned(&error.to_string()));
                    for (_, entry) in group.drain(..) {
                        entry.ticket.fail(poisoned(&error.to_string()));
                    }
                    poison = Some(error.to_string());
                }
            }
        }
    }

    /// Refuses a group of which nothing was written. What came after it may rely on it, so it is refused, too, until whoever
    /// appends has looked what is kept.
    fn refuse(&mut self, group: &mut Vec<(i64, Entry)>, first_lsn: u64, error: &io::Error) {
        let refusal = || {
            let text = format!(
                "the log cannot be written: {error}; make room for it, then writes go on by themselves, path={}",
                self.dir.display()
            );
            Error::new(ErrorKind::Unavailable, text)
        };
        if self.metrics.refusing.get() == 0 {
            tracing::error!(error = %refusal(), "appends are refused");
        }
        self.metrics.refusing.set(1);
        self.generation.fetch_add(1, Ordering::AcqRel);
        group.drain(..).for_each(|(_, entry)| entry.ticket.fail(refusal()));
        self.next_lsn = first_lsn;
    }

    fn encode(&mut self, entry: Entry, first_lsn: u64, group: &mut Vec<(i64, Entry)>, buffer: &mut Vec<u8>) {
        let lsn = self.next_lsn;
        if entry.generation != self.generation.load(Ordering::Acquire) {
            let text = "an append before this one was refused; send it again in a moment";
            return entry.ticket.fail(Error::new(ErrorKind::Unavailable, text));
        }
        if !entry.batches.is_empty() {
            let fits = segment::write_record(buffer, lsn, first_lsn - 1, |out| payload::encode(&entry.batches, out));
            if !fits {
                return entry.ticket.fail(Error::new(ErrorKind::Invalid, "append exceeds 4 GiB: send less at once"));
            }
            self.next_lsn += 1;
        }
        group.push((lsn.cast_signed(), entry));
    }

    fn write(&self, current: &mut Option<Current>, first_lsn: u64, buffer: &[u8]) -> Result<(), NotWritten> {
        // A barrier needs no room, but is to tell whether there is some again.
        if buffer.is_empty() && self.metrics.refusing.get() == 0 {
            return Ok(());
        }
        let len = buffer.len() as u64;
        let segment = match current {
            Some(segment) if segment.offset + len <= segment.size => segment,
            _ => current.insert(self.roll(first_lsn, len)?),
        };
        if self.metrics.refusing.get() != 0 {
            self.metrics.refusing.set(0);
            tracing::info!("the log is written again");
        }
        let start_us = self.clock.now_us();
        segment.file.write_at(buffer, segment.offset).map_err(NotWritten::Broken)?;
        self.probe.reach("wal_written");
        segment.file.sync().map_err(NotWritten::Broken)?;
        self.probe.reach("wal_synced");
        segment.offset += len;
        self.metrics.sync_seconds.observe_since(start_us);
        self.metrics.syncs_total.inc();
        self.metrics.bytes_total.inc_by(len);
        self.metrics.records_total.inc_by(self.next_lsn - first_lsn);
        Ok(())
    }

    /// Starts a segment: durable in name, size and header before the first record goes in.
    fn roll(&self, first_lsn: u64, len: u64) -> Result<Current, NotWritten> {
        let path = self.dir.join(segment_name(first_lsn));
        let size = self.segment_bytes.max(len + segment::HEADER_BYTES as u64);
        // A segment that lost its only, torn record to a restart is taken up again.
        let exists = self.segments.0.lock().contains_key(&first_lsn);
        let made = if exists { self.disk.open(&path) } else { self.disk.create(&path) };
        let begun = made.and_then(|file| {
            file.preallocate(size)?;
            file.write_at(&segment::header(self.id, first_lsn), 0)?;
            Ok(file)
        });
        let file = match begun {
            Ok(file) => file,
            Err(error) => {
                // Begun again under the same name; what cannot be removed is found at the next start and told apart there.
                if !exists && error.kind() != io::ErrorKind::AlreadyExists {
                    let _ = self.disk.remove(&path);
                }
                return Err(NotWritten::NoSegment(error));
            }
        };
        file.sync().map_err(NotWritten::Broken)?;
        self.disk.sync_dir(&self.dir).map_err(NotWritten::Broken)?;
        self.segments.add(first_lsn, path);
        Ok(Current { file, offset: segment::HEADER_BYTES as u64, size })
    }

    /// A writer's inbox has room for every ticket there can be, so this never waits. A writer that stopped fails the ticket
    /// by dropping it.
    fn send(&self, writer: &mpsc::Sender<Message>, message: Message) {
        if writer.blocking_send(message).is_err() {
            let error =
                Error::new(ErrorKind::Internal, "a writer has stopped; appends stay in the log for the next start");
            self.failure.set(&error);
        }
    }

    fn forward(&self, group: &mut Vec<(i64, Entry)>) {
        for (lsn, entry) in group.drain(..) {
            let Entry { batches, ticket, .. } = entry;
            if batches.is_empty() {
                ticket.expect(self.writers.len());
                for writer in self.writers.values() {
                    self.send(writer, Message::Barrier(Arc::clone(&ticket)));
                }
                continue;
            }
            // All rows of an append for one dataset travel together, so that no commit can take a part of them.
            let mut writes: BTreeMap<&'static str, Vec<Write>> = BTreeMap::new();
            for batch in batches {
                writes.entry(batch.dataset.name).or_default().push(batch.write);
            }
            self.segments.note(writes.keys().copied(), lsn);
            ticket.expect(writes.len());
            for (dataset, writes) in writes {
                let Some(writer) = self.writers.get(dataset) else { continue };
                self.send(writer, Message::Record(Record { position: lsn, writes, ticket: Arc::clone(&ticket) }));
            }
        }
    }
}

impl Segments {
    /// Those of a log that was read back.
    pub(crate) fn of(recovered: &recovery::Recovered) -> Self {
        let segments = Self::default();
        recovered.segments.iter().for_each(|(lsn, path)| segments.add(*lsn, path.clone()));
        for (lsn, batches) in &recovered.appends {
            segments.note(batches.iter().map(|batch| batch.dataset.name), *lsn);
        }
        segments
    }

    pub(crate) fn add(&self, first_lsn: u64, path: PathBuf) {
        self.0.lock().entry(first_lsn).or_insert(Segment { path, last: BTreeMap::new() });
    }

    /// Notes that the newest segment that starts at or below `lsn` holds rows of these datasets there.
    pub(crate) fn note(&self, datasets: impl Iterator<Item = &'static str>, lsn: i64) {
        let mut segments = self.0.lock();
        if let Some((_, segment)) = segments.range_mut(..=lsn.cast_unsigned()).next_back() {
            segment.last.extend(datasets.map(|dataset| (dataset, lsn)));
        }
    }

    /// Does this dataset alone keep a long log from being trimmed?
    pub(crate) fn pinned_by(&self, dataset: &str, committed: i64) -> bool {
        let segments = self.0.lock();
        segments.len() > SEGMENTS_MAX
            && segments.values().next().and_then(|oldest| oldest.last.get(dataset)).is_some_and(|lsn| *lsn > committed)
    }

    /// Removes the oldest segments as long as every row in them is committed; the newest stays.
    pub(crate) fn trim(&self, disk: &dyn Disk, committed: &BTreeMap<&'static str, i64>) -> std::io::Result<()> {
        let mut segments = self.0.lock();
        while segments.len() > 1
            && let Some(oldest) = segments.first_entry()
        {
            let needed = |(dataset, lsn): (&&str, &i64)| committed.get(dataset).is_none_or(|position| position < lsn);
            if oldest.get().last.iter().any(needed) {
                break;
            }
            match disk.remove(&oldest.get().path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => drop(oldest.remove()),
            }
        }
        Ok(())
    }
}

pub(crate) fn segment_name(first_lsn: u64) -> String {
    format!("{first_lsn:020}.wal")
}

fn poisoned(reason: &str) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        format!("the write-ahead log failed and takes no writes until a restart: {reason}"),
    )
}

/// First LSN of a segment by its file name.
/// Gives a segment that was copied to another log, whose data folder nobody has opened yet.
pub(crate) fn adopt(path: &Path, log: u128, disk: &dyn Disk) -> crate::Result<()> {
    let first_lsn = first_lsn_of(path).ok_or_else(|| {
        Error::new(ErrorKind::Corrupt, format!("this is no name of a segment of a log, file={}", path.display()))
    })?;
    let file = disk.open(path)?;
    file.write_at(&segment::header(log, first_lsn), 0)?;
    Ok(file.sync()?)
}

fn first_lsn_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".wal")?.parse().ok()
}

#[cfg(test)]
mod tests;
