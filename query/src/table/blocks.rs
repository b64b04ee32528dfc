//! Floats of files, decoded, in memory: what dashboards ask for again and again.
//!
//! Asked when samples of a sorted file are read. A file is cut into blocks of [`ROWS`] rows; a block is kept as its times and values, as
//! the evaluator looks at them, so that whoever wants rows of it takes no copy. Worth it is a block of which much is wanted, or some
//! for the second time: a query that passes through a year of files once leaves what dashboards use where it is.
//!
//! Invariant: what a file holds never changes, and its name is never used again.
//! Derived state: dropped when its memory is wanted for blocks used later; whoever still looks at a block keeps it alive.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::Arc,
};

use object_store::path::Path;
use parking_lot::Mutex;
use promql::Floats;

/// Rows of a block: a MiB. Less, and the parts of an answer are many; more, and for one series too much is decoded.
pub(crate) const ROWS: u64 = 64 << 10;
/// The share of a block that makes it worth keeping the first time it is wanted.
const WORTH_ROWS: usize = 8 << 10;
/// Blocks that are remembered to have been asked for.
const ASKED_MAX: usize = 64 << 10;

/// Rows of a file that follow one another.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) floats: Arc<Floats>,
    /// Rows after which the time does not grow by a millisecond at least: the last ones of series.
    breaks: Vec<u32>,
    /// The longest time between two rows of one series, milliseconds.
    pub(crate) gap_ms: i64,
}

/// The blocks that were used last.
#[derive(Debug)]
pub(crate) struct Blocks {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Key, (Arc<Block>, u64)>,
    /// Those of which a little was wanted once.
    asked: HashSet<Key>,
    bytes: usize,
    /// Counts uses, so that the least used ones are found.
    uses: u64,
}

/// A file and which of its blocks.
type Key = (Path, u64);

impl Block {
    pub(crate) fn new(times_ms: Vec<i64>, values: Vec<f64>) -> Self {
        let breaks =
            (0..).zip(times_ms.windows(2)).filter(|(_, pair)| pair[0] >= pair[1]).map(|(row, _)| row).collect();
        let gap_ms = times_ms.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max().unwrap_or(0);
        Self { floats: Arc::new(Floats::new(times_ms, values, Vec::new())), breaks, gap_ms }
    }

    /// Do the times of some rows ascend?
    pub(crate) fn ascends(&self, rows: &Range<usize>) -> bool {
        let first = self.breaks.partition_point(|row| (*row as usize) < rows.start);
        self.breaks.get(first).is_none_or(|row| *row as usize + 1 >= rows.end)
    }

    fn bytes(&self) -> usize {
        self.floats.times().len() * 16 + self.breaks.len() * 4
    }
}

impl Blocks {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// A block, if it is in memory.
    pub(crate) fn get(&self, file: &Path, block: u64) -> Option<Arc<Block>> {
        let mut state = self.state.lock();
        state.uses += 1;
        let uses = state.uses;
        let (known, used) = state.known.get_mut(&(file.clone(), block))?;
        *used = uses;
        Some(Arc::clone(known))
    }

    /// Is it worth decoding a whole block of which so many rows are wanted?
    pub(crate) fn is_worth(&self, file: &Path, block: u64, rows: usize) -> bool {
        if rows >= WORTH_ROWS {
            return true;
        }
        let mut state = self.state.lock();
        let key = (file.clone(), block);
        if state.asked.remove(&key) {
            return true;
        }
        if state.asked.len() >= ASKED_MAX {
            state.asked.clear();
        }
        state.asked.insert(key);
        false
    }

    /// Keeps a block.
    pub(crate) fn put(&self, file: Path, block: u64, decoded: Arc<Block>) {
        let mut state = self.state.lock();
        state.uses += 1;
        let uses = state.uses;
        state.bytes += decoded.bytes();
        if let Some((before, _)) = state.known.insert((file, block), (decoded, uses)) {
            state.bytes -= before.bytes();
        }
        if state.bytes > self.bytes_max {
            state.shrink(self.bytes_max);
        }
    }
}

impl State {
    /// Drops what was not used for longest, and some more, so that it is not looked for again soon.
    fn shrink(&mut self, bytes_max: usize) {
        let mut by_use: Vec<(u64, Key)> = self.known.iter().map(|(key, (_, used))| (*used, key.clone())).collect();
        by_use.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_use {
            if self.bytes <= bytes_max / 8 * 7 {
                break;
            }
            if let Some((gone, _)) = self.known.remove(&key) {
                self.bytes -= gone.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(rows: i64) -> Arc<Block> {
        Arc::new(Block::new((0..rows).collect(), vec![0.0; usize::try_from(rows).unwrap()]))
    }

    #[test]
    fn what_was_used_last_stays() {
        let blocks = Blocks::new(3 * 1600);
        let path = Path::from("a");
        for nth in 0..3 {
            blocks.put(path.clone(), nth, block(100));
        }
        assert!(blocks.get(&path, 0).is_some());
        blocks.put(path.clone(), 3, block(100));
        let kept: Vec<u64> = (0..4).filter(|nth| blocks.get(&path, *nth).is_some()).collect();
        assert_eq!(kept, [0, 3], "the two that were used longest ago went");
        assert_eq!(blocks.state.lock().bytes, 3200);
    }

    #[test]
    fn a_block_is_worth_it_if_much_is_wanted_or_for_the_second_time() {
        let blocks = Blocks::new(1);
        let path = Path::from("a");
        assert!(blocks.is_worth(&path, 0, WORTH_ROWS));
        assert!(!blocks.is_worth(&path, 0, 10) && blocks.is_worth(&path, 0, 10));
        assert!(!blocks.is_worth(&path, 1, 10));
    }

    #[test]
    fn times_ascend_between_breaks() {
        let block = Block::new(vec![1, 2, 3, 1, 2, 2], vec![0.0; 6]);
        assert!(block.ascends(&(0..3)) && block.ascends(&(3..5)) && block.ascends(&(5..6)) && block.ascends(&(2..3)));
        assert!(!block.ascends(&(0..4)) && !block.ascends(&(3..6)) && !block.ascends(&(0..6)));
    }
}
