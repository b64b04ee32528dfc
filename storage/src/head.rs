//! Rows of one dataset that are not in files yet.
//!
//! Owned by the writer. Batches come in at the end as they are; once enough of them have gathered they are sorted into a run,
//! off the writer's task, and a commit takes everything at the front. Views share the rows.
//!
//! Invariants: oldest first: rows under commit, then runs, then batches; a run never mixes lanes; among rows with one key the
//! larger `seq` is the later.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use schemas::Dataset;

use crate::{
    Lane, Result, Rows,
    sort::{Equal, sort},
};

/// Rows in batches at which they are sorted into a run: a sort of a few tens of milliseconds.
const RUN_ROWS: usize = 128 << 10;
/// Batches at which they are sorted whatever they hold, so that a view stays short.
const RUN_BATCHES: usize = 256;
/// Above the `seq` of every file; a file's is twice its version.
const SEQ_BASE: i64 = 1 << 61;

/// The head of one dataset.
#[derive(Debug, Default)]
pub(crate) struct Head {
    rows: Vec<Entry>,
    /// How many entries, from the front, are being committed.
    frozen: usize,
    /// How many, from the front, need no sorting: frozen ones and runs.
    settled: usize,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Entry {
    rows: Arc<Rows>,
    bytes: usize,
    since_ms: i64,
    /// Newest position among the rows. Entries of one position are committed together.
    position: i64,
}

/// Batches to be sorted into runs.
#[derive(Debug)]
pub(crate) struct Unsorted {
    from: usize,
    entries: Vec<Entry>,
}

impl Head {
    /// Adds rows that came at a position.
    pub(crate) fn push(&mut self, batch: RecordBatch, lane: Lane, position: i64, now_ms: i64) -> usize {
        let bytes = bytes_of(&batch);
        let rows = Arc::new(Rows { batch, sorted: false, lane, seq: seq(position, lane) });
        self.rows.push(Entry { rows, bytes, since_ms: now_ms, position });
        self.bytes += bytes;
        bytes
    }

    pub(crate) fn rows(&self) -> Vec<Arc<Rows>> {
        self.rows.iter().map(|entry| Arc::clone(&entry.rows)).collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes not under commit.
    pub(crate) fn bytes_waiting(&self) -> usize {
        self.rows[self.frozen..].iter().map(|entry| entry.bytes).sum()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest row that is not under commit came.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.rows.get(self.frozen).map(|entry| entry.since_ms)
    }

    /// Batches worth sorting, if there are enough.
    pub(crate) fn unsorted(&self) -> Option<Unsorted> {
        let waiting = &self.rows[self.settled..];
        let rows: usize = waiting.iter().map(|entry| entry.rows.batch.num_rows()).sum();
        (rows >= RUN_ROWS || waiting.len() >= RUN_BATCHES)
            .then(|| Unsorted { from: self.settled, entries: waiting.to_vec() })
    }

    /// Puts the runs where their batches were. Says how many bytes fewer (or more) there are; nothing happens if a commit has
    /// taken the batches meanwhile.
    pub(crate) fn settle(&mut self, unsorted: &Unsorted, runs: Vec<Rows>) -> isize {
        let same = |(ours, theirs): (&Entry, &Entry)| Arc::ptr_eq(&ours.rows, &theirs.rows);
        if self.settled != unsorted.from
            || !self.rows.get(unsorted.from).zip(unsorted.entries.first()).is_some_and(same)
        {
            return 0;
        }
        let since_ms = unsorted.entries.first().map_or(0, |entry| entry.since_ms);
        let position = unsorted.position();
        let entry = |rows: Rows| {
            let bytes = bytes_of(&rows.batch);
            Entry { bytes, rows: Arc::new(rows), since_ms, position }
        };
        let runs: Vec<Entry> = runs.into_iter().map(entry).collect();
        self.settled += runs.len();
        let before = self.bytes;
        self.rows.splice(unsorted.from..unsorted.from + unsorted.entries.len(), runs);
        self.bytes = self.rows.iter().map(|entry| entry.bytes).sum();
        self.bytes.cast_signed() - before.cast_signed()
    }

    /// Takes the oldest rows, about `bytes_max` of them, for a commit, and says up to which position they reach. They stay
    /// visible until [`Head::thaw`].
    pub(crate) fn freeze(&mut self, bytes_max: usize) -> Option<(Vec<Arc<Rows>>, i64)> {
        let mut bytes = 0;
        let mut taken = 0;
        while let Some(next) = self.rows.get(taken) {
            let starts_position = taken == 0 || self.rows[taken - 1].position < next.position;
            if starts_position && bytes >= bytes_max {
                break;
            }
            bytes += next.bytes;
            taken += 1;
        }
        let position = self.rows.get(taken.checked_sub(1)?)?.position;
        self.frozen = taken;
        self.settled = self.settled.max(taken);
        Some((self.rows[..taken].iter().map(|entry| Arc::clone(&entry.rows)).collect(), position))
    }

    /// Drops what was committed; says how many bytes that were.
    pub(crate) fn thaw(&mut self) -> usize {
        let bytes = self.rows.drain(..self.frozen).map(|entry| entry.bytes).sum();
        self.settled -= self.frozen;
        self.frozen = 0;
        self.bytes -= bytes;
        bytes
    }
}

/// Bytes of rows. Buffers may be shared with others, so what counts is the part that is theirs.
fn bytes_of(batch: &RecordBatch) -> usize {
    // A batch whose size cannot be told, because it is beyond counting, counts as it was taken.
    let size =
        |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    batch.columns().iter().map(size).sum()
}

/// Orders rows of the head by when they were written, above all files.
pub(crate) fn seq(position: i64, lane: Lane) -> i64 {
    SEQ_BASE + position * 2 + i64::from(lane == Lane::Late)
}

impl Unsorted {
    fn position(&self) -> i64 {
        self.entries.iter().map(|entry| entry.position).max().unwrap_or(0)
    }

    /// One sorted run per lane.
    pub(crate) fn sort(&self, dataset: &Dataset) -> Result<Vec<Rows>> {
        let mut runs = Vec::new();
        for (lane, equal) in [(Lane::InOrder, Equal::Keep), (Lane::Late, Equal::Last)] {
            let members = || self.entries.iter().map(|entry| &entry.rows).filter(move |rows| rows.lane == lane);
            if members().next().is_none() {
                continue;
            }
            // A late row comes after the in-order one of its key, so the late run comes after the in-order run as a whole.
            let seq = seq(self.position(), lane);
            let batches: Vec<&RecordBatch> = members().map(|rows| &rows.batch).collect();
            // A late run of a partitioned table may hold one key in two partitions; those rows are told apart at the commit.
            let equal = if dataset.columns_of_partition() > 0 { Equal::Keep } else { equal };
            runs.push(Rows { batch: sort(dataset, &batches, equal)?, sorted: true, lane, seq });
        }
        Ok(runs)
    }
}

#[cfg(test)]
mod tests;
