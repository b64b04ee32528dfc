//! Answers over a range that are asked for again, as dashboards do: steps that nothing has changed since are not evaluated anew.
//!
//! An answer is kept from the second time it is asked for, with a [`Mark`] of the tables it was made of. When it is asked for again, the
//! tables are compared: what was written since begins at some time, and steps that look at samples before it alone are as they were.
//! Where it cannot be told from the lists of files and rows what was written, nothing is taken for unchanged.
//!
//! Invariants: an answer is the one that evaluating all of it would give; nothing here holds a view, whose files and rows could not go.
//! Derived state: dropped when its memory is wanted for answers used later.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arrow::{array::AsArray, compute::min, datatypes::TimestampMicrosecondType};
use object_store::path::Path;
use parking_lot::Mutex;
use promql::{Columns, Kept, Outcome, Planned};
use storage::{Rows, View};
use xxhash_rust::xxh3::xxh3_128;

use super::{Found, When};
use crate::cut::Cut;

/// Questions that are remembered to have been asked once.
const ASKED_MAX: usize = 4096;
/// Answers that are kept at most, however small.
const ANSWERS_MAX: usize = 4096;
/// An answer may take this share of the memory of all.
const SHARE_OF_ONE: usize = 8;

/// The answers that were used last.
#[derive(Debug)]
pub(crate) struct Answers {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Key, Entry>,
    /// Hashes of them.
    asked: HashSet<u128>,
    bytes: usize,
    /// Counts uses, so that the least used ones are found.
    uses: u64,
}

/// What a question is, but for where its range begins and ends.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    text: String,
    step_ms: i64,
    /// Where its steps are between multiples of the step.
    phase_ms: i64,
    lookback_ms: i64,
    /// About how many steps there are: two panels that show a day and an hour are two questions.
    size: u32,
}

#[derive(Debug, Clone)]
struct Entry {
    kept: Arc<Kept>,
    mark: Mark,
    bytes: usize,
    used: u64,
}

/// The steps of a kept answer that are as they were.
#[derive(Debug)]
pub(super) struct Part {
    pub kept: Arc<Kept>,
    /// The last of them.
    pub until_ms: i64,
}

/// What was in the tables of samples.
#[derive(Debug, Clone)]
struct Mark([OfTable; 2]);

#[derive(Debug, Clone)]
struct OfTable {
    version: Option<i64>,
    /// Rows of each file.
    files: Arc<HashMap<Path, u64>>,
    /// The latest rows of the head; none before any.
    seq: i64,
    /// The first time of the head's rows, microseconds. Once they are in files, what becomes of them there is not seen.
    head_from_us: i64,
}

impl Part {
    /// Is it all that is asked for?
    pub(super) fn is_whole(&self, when: When) -> bool {
        Some(self.until_ms) == when.last_step_before(when.end_ms)
    }
}

impl Answers {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// The question, if answers to it may be kept.
    pub(super) fn key(&self, text: &str, planned: &Planned, when: When) -> Option<Key> {
        let options = planned.options();
        let steps = when.end_ms.saturating_sub(when.start_ms) / options.step_ms;
        let may_be = !when.anew && !options.is_instant && steps > 0 && planned.lag_ms().is_some();
        may_be.then(|| Key {
            text: text.to_owned(),
            step_ms: options.step_ms,
            phase_ms: when.start_ms.rem_euclid(options.step_ms),
            lookback_ms: options.lookback_ms,
            size: steps.ilog2(),
        })
    }

    /// What is still right of the answer that was kept.
    pub(super) fn part(&self, key: &Key, cut: &Cut, when: When, lag_ms: i64) -> Option<Part> {
        let Entry { kept, mark, .. } = self.get(key)?;
        let changed_ms = mark.changed_from_us(cut).div_euclid(1000);
        // A sample at a time is in the windows of the steps from then on, later by the lag.
        let unchanged_ms = changed_ms.saturating_add(lag_ms).saturating_sub(1);
        let until_ms = unchanged_ms.min(kept.end_ms()).min(when.end_ms);
        let until_ms = when.last_step_before(until_ms)?;
        (kept.start_ms() <= when.start_ms).then_some(Part { kept, until_ms })
    }

    fn get(&self, key: &Key) -> Option<Entry> {
        let mut state = self.state.lock();
        state.uses += 1;
        let uses = state.uses;
        let entry = state.known.get_mut(key)?;
        entry.used = uses;
        Some(entry.clone())
    }

    /// Keeps an answer, if it was asked for before.
    pub(super) fn keep(&self, key: Key, cut: &Cut, found: &Found) {
        let Outcome::Matrix(columns) = &found.result else { return };
        // What was noted on steps is not kept with them.
        if !found.warnings.is_empty() || !found.infos.is_empty() || !self.is_wanted(&key, columns) {
            return;
        }
        let Some(kept) = Kept::of(columns, &found.symbols) else { return };
        let mark = self.mark(cut);
        let bytes = key.bytes() + kept.bytes() + mark.bytes();
        let mut state = self.state.lock();
        state.uses += 1;
        let entry = Entry { kept: Arc::new(kept), mark, bytes, used: state.uses };
        state.bytes += bytes;
        if let Some(before) = state.known.insert(key, entry) {
            state.bytes -= before.bytes;
        }
        state.shrink(self.bytes_max);
    }

    fn is_wanted(&self, key: &Key, columns: &Columns) -> bool {
        if Kept::bytes_of(columns) > self.bytes_max / SHARE_OF_ONE {
            return false;
        }
        let mut state = self.state.lock();
        let hash = key.hash();
        if state.known.contains_key(key) || state.asked.remove(&hash) {
            return true;
        }
        if state.asked.len() >= ASKED_MAX {
            state.asked.clear();
        }
        state.asked.insert(hash);
        false
    }

    /// A mark of the tables; lists of files are those of an answer before, if it has them.
    fn mark(&self, cut: &Cut) -> Mark {
        let newest = self.state.lock().known.values().max_by_key(|entry| entry.used).map(|entry| entry.mark.clone());
        let views = cut.of_samples();
        Mark([0, 1].map(|nth| {
            let known = newest.as_ref().map(|mark| &mark.0[nth]);
            OfTable::new(views[nth], known.filter(|known| known.version == views[nth].version))
        }))
    }
}

impl State {
    /// Drops what was not used for longest.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max || self.known.len() > ANSWERS_MAX {
            let oldest = self.known.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| key.clone());
            let Some(gone) = oldest.and_then(|key| self.known.remove(&key)) else { return };
            self.bytes -= gone.bytes;
        }
    }
}

impl Key {
    fn hash(&self) -> u128 {
        let Self { text, step_ms, phase_ms, lookback_ms, size } = self;
        xxh3_128(format!("{step_ms} {phase_ms} {lookback_ms} {size} {text}").as_bytes())
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<Entry>() + self.text.len()
    }
}

impl Mark {
    /// As if nobody else had the same list of files: some do, and then there is room for more.
    fn bytes(&self) -> usize {
        /// Of a path with its place in the list.
        const FILE_BYTES: usize = 160;
        self.0.iter().map(|table| table.files.len() * FILE_BYTES).sum()
    }

    /// The earliest time, microseconds, of what was written or has gone since.
    fn changed_from_us(&self, cut: &Cut) -> i64 {
        let tables = self.0.iter().zip(cut.of_samples());
        tables.map(|(then, now)| then.changed_from_us(now)).min().unwrap_or(i64::MIN)
    }
}

impl OfTable {
    fn new(view: &View, known: Option<&Self>) -> Self {
        let list = || Arc::new(view.files.iter().map(|file| (file.path.clone(), file.rows)).collect());
        Self {
            version: view.version,
            files: known.map_or_else(list, |known| Arc::clone(&known.files)),
            seq: view.head.iter().map(|rows| rows.seq).max().unwrap_or(i64::MIN),
            head_from_us: view.head.iter().map(|rows| begin_of_rows_us(rows, view)).min().unwrap_or(i64::MAX),
        }
    }

    fn changed_from_us(&self, view: &View) -> i64 {
        let later = view.head.iter().filter(|rows| rows.seq > self.seq);
        let of_head = later.map(|rows| begin_of_rows_us(rows, view)).min().unwrap_or(i64::MAX);
        if view.version == self.version {
            return of_head;
        }
        of_head.min(self.head_from_us).min(self.changed_in_files_from_us(view))
    }

    fn changed_in_files_from_us(&self, view: &View) -> i64 {
        let mut from_us = i64::MAX;
        let (mut still_there, mut moved_rows) = (0, 0);
        for file in view.files.iter() {
            if self.files.contains_key(&file.path) {
                still_there += file.rows;
            } else if Some(file.known_at) <= self.version {
                moved_rows += file.rows;
            } else {
                from_us = from_us.min(file.times_us(view.dataset).map_or(i64::MIN, |(first, _)| first));
            }
        }
        // Rows that are neither where they were nor in another file were deleted, or replaced by later ones.
        if self.files.values().sum::<u64>() == still_there + moved_rows { from_us } else { i64::MIN }
    }
}

/// When the first of some rows is; of none, never.
fn begin_of_rows_us(rows: &Rows, view: &View) -> i64 {
    let times = rows.batch.column_by_name(view.dataset.time);
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    times.map_or(i64::MIN, |times| min(times).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
