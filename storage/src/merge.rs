//! Merges sorted rows of one partition into sorted files, streaming.
//!
//! Called on blocking threads: by upkeep with files, by commits with runs of the head. Rows of one series lie together in every
//! input, so whole stretches are copied, not rows: a stretch is a run of rows that agree in the leading sort columns. Where stretches
//! of several inputs interleave in time they are merged row by row, and of rows with one key the one written last stays.
//!
//! Invariants: holds one row group of each file and one output file at a time, and never a copy of all rows; knows datasets only as
//! values; rows that come out are those that went in, less those that a later row of their key replaces, and those of stretches that
//! are to be left out.

mod cursor;

use std::{
    cmp,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use schemas::Dataset;

use self::cursor::{Cursor, Key, Texts, Word};
use crate::{
    DataFile, Error, ErrorKind, Result,
    gather::{Piece, assemble},
    parquet_file::{Effort, Encoded, FileWriter},
};

/// Leading sort columns that make a stretch; no key is shorter.
const LEADING: usize = 2;
/// Rows assembled before they are encoded: two megabytes of samples.
const CHUNK_ROWS: usize = 64 << 10;

/// Where output files are cut, bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// At the next change of the first sort column.
    pub soft: usize,
    /// At the next change of the leading sort columns.
    pub hard: usize,
}

/// The columns of files that rows are ordered by.
struct Order {
    /// Rows that agree in these make a stretch.
    leading: Vec<usize>,
    /// The sort columns after them.
    rest: Vec<usize>,
    /// How many of `rest` belong to the key; `None` if rows have none, and each of them stays.
    rest_key: Option<usize>,
}

impl Order {
    fn of(dataset: &Dataset) -> Result<Self> {
        let schema = dataset.file_schema();
        let columns = dataset.sort.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let (leading, rest) = columns.split_at(columns.len().min(LEADING));
        let rest_key = (dataset.key > 0).then(|| dataset.key.saturating_sub(LEADING));
        Ok(Self { leading: leading.to_vec(), rest: rest.to_vec(), rest_key })
    }
}

/// How files are merged.
pub(crate) struct Job<'a> {
    pub cut: Cut,
    /// Ends the merge early once it is set.
    pub stopping: &'a AtomicBool,
    /// Leading sort columns of rows that are left out, in their order.
    pub without: Option<RecordBatch>,
}

/// Merges `files`, oldest first, and hands each finished file to `done`. Blocks. Gives the number of rows that were left out.
pub(crate) fn merge_files(
    dataset: &'static Dataset,
    store: &Arc<dyn ObjectStore>,
    files: &[Arc<DataFile>],
    Job { cut, stopping, without }: Job<'_>,
    mut done: impl FnMut(Encoded) -> Result<()>,
) -> Result<u64> {
    let order = Order::of(dataset)?;
    let mut texts = Texts::default();
    let without = without.map(|keys| Without::new(dataset, &mut texts, keys)).transpose()?;
    let open = |file: &Arc<DataFile>| Cursor::open(dataset, &order, &mut texts, (store, file));
    let cursors = files.iter().map(open).collect::<Result<Vec<_>>>()?;
    let mut output = Output { without, ..Output::new(dataset, Effort::Kept, cut) };
    merge(&order, cursors, texts, &mut output, |file| {
        let stop = || Error::new(ErrorKind::Unavailable, "the server is stopping; upkeep goes on at the next start");
        if stopping.load(Ordering::Relaxed) { Err(stop()) } else { file.map_or(Ok(()), &mut done) }
    })?;
    Ok(output.left_out)
}

/// Merges sorted runs of [`Dataset::file_schema`], oldest first, into one fresh file.
pub(crate) fn merge_runs(dataset: &'static Dataset, runs: Vec<RecordBatch>) -> Result<Encoded> {
    let order = Order::of(dataset)?;
    let mut texts = Texts::default();
    let open = |run: RecordBatch| Cursor::of(dataset, &order, &mut texts, run);
    let cursors = runs.into_iter().map(open).collect::<Result<Vec<_>>>()?;
    let mut output = Output::new(dataset, Effort::Fresh, Cut { soft: usize::MAX, hard: usize::MAX });
    let mut out = None;
    merge(&order, cursors, texts, &mut output, |file| {
        out = file.or(out.take());
        Ok(())
    })?;
    out.ok_or_else(|| Error::new(ErrorKind::Internal, "a merge of no rows was asked for"))
}

/// Merges what cursors read. Hands on each finished file; in between, nothing, so that the caller can end it.
fn merge(
    order: &Order,
    mut cursors: Vec<Cursor>,
    mut texts: Texts,
    output: &mut Output,
    mut done: impl FnMut(Option<Encoded>) -> Result<()>,
) -> Result<()> {
    let mut group: Vec<usize> = Vec::new();
    let mut stretches: Vec<Stretch> = Vec::new();
    loop {
        least(&cursors, &mut group);
        let Some(key) = group.first().and_then(|first| cursors[*first].key().cloned()) else { break };
        if let Some(without) = &mut output.without
            && without.holds(&key, &mut texts)?
        {
            let before = output.left_out / CHUNK_ROWS as u64;
            for at in &group {
                while cursors[*at].key() == Some(&key) {
                    output.left_out += output.chunk.pass(order, &mut texts, *at, &mut cursors[*at])? as u64;
                }
            }
            if output.left_out / CHUNK_ROWS as u64 > before {
                done(None)?;
            }
            continue;
        }
        if let Some(encoded) = output.cut_before(&key)? {
            done(Some(encoded))?;
        }
        stretches.clear();
        for at in &group {
            // A stretch may go on in the next batches of its input.
            while cursors[*at].key() == Some(&key) {
                stretches.push(output.chunk.stretch(order, &mut texts, *at, &mut cursors[*at])?);
            }
        }
        output.chunk.add(order, &mut stretches);
        if output.chunk.rows >= CHUNK_ROWS {
            done(None)?;
            output.write()?;
        }
    }
    if let Some(encoded) = output.finish()? {
        done(Some(encoded))?;
    }
    Ok(())
}

/// Cursors that stand at the least key.
fn least(cursors: &[Cursor], group: &mut Vec<usize>) {
    group.clear();
    for (at, cursor) in cursors.iter().enumerate() {
        let Some(key) = cursor.key() else { continue };
        let order =
            group.first().and_then(|least| cursors[*least].key()).map_or(cmp::Ordering::Less, |least| key.cmp(least));
        match order {
            cmp::Ordering::Less => {
                group.clear();
                group.push(at);
            }
            cmp::Ordering::Equal => group.push(at),
            cmp::Ordering::Greater => {}
        }
    }
}

/// Keys of stretches that are left out.
struct Without {
    keys: Cursor,
    order: Order,
}

impl Without {
    fn new(dataset: &'static Dataset, texts: &mut Texts, keys: RecordBatch) -> Result<Self> {
        let order = Order { leading: (0..keys.num_columns()).collect(), rest: Vec::new(), rest_key: None };
        Ok(Self { keys: Cursor::of(dataset, &order, texts, keys)?, order })
    }

    /// Is it one of them? Asked in the order of keys.
    fn holds(&mut self, key: &Key, texts: &mut Texts) -> Result<bool> {
        while self.keys.key().is_some_and(|next| next < key) {
            self.keys.advance(&self.order, texts)?;
        }
        Ok(self.keys.key() == Some(key))
    }
}

/// Rows of one batch that agree in the leading sort columns.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Which of the chunk's batches.
    batch: usize,
    start: usize,
    len: usize,
    /// Which input; later inputs were written later.
    input: usize,
}

impl Stretch {
    fn first(&self) -> Place {
        (self.batch, self.start)
    }

    fn last(&self) -> Place {
        (self.batch, self.start + self.len - 1)
    }
}

/// A batch and a row of it.
type Place = (usize, usize);

/// Rows that wait to be encoded.
#[derive(Default)]
struct Chunk {
    batches: Vec<RecordBatch>,
    /// The batch of `batches` that each input reads.
    reading: Vec<Option<usize>>,
    pieces: Vec<Piece>,
    rows: usize,
}

impl Chunk {
    /// The next stretch of an input, which moves on.
    fn stretch(&mut self, order: &Order, texts: &mut Texts, input: usize, cursor: &mut Cursor) -> Result<Stretch> {
        if self.reading.len() <= input {
            self.reading.resize(input + 1, None);
        }
        let batch = *self.reading[input].get_or_insert_with(|| {
            self.batches.push(cursor.batch().clone());
            self.batches.len() - 1
        });
        let (range, ended) = cursor.advance(order, texts)?;
        if ended {
            self.reading[input] = None;
        }
        Ok(Stretch { batch, start: range.start, len: range.len(), input })
    }

    /// An input moves on past its next stretch; gives the number of its rows.
    fn pass(&mut self, order: &Order, texts: &mut Texts, input: usize, cursor: &mut Cursor) -> Result<usize> {
        let (range, ended) = cursor.advance(order, texts)?;
        if ended && let Some(reading) = self.reading.get_mut(input) {
            *reading = None;
        }
        Ok(range.len())
    }

    /// Adds the stretches of one key, oldest input first.
    fn add(&mut self, order: &Order, stretches: &mut [Stretch]) {
        if stretches.len() > 1 {
            // A stable sort: what is equal stays in the order of writing.
            stretches.sort_by(|a, b| self.compare(&order.rest, a.first(), b.first()));
            let apart = |pair: &[Stretch]| {
                let between = self.compare(&order.rest, pair[0].last(), pair[1].first());
                if order.rest_key.is_some() { between.is_lt() } else { between.is_le() }
            };
            if !stretches.windows(2).all(apart) {
                return self.interleave(order, stretches);
            }
        }
        for Stretch { batch, start, len, .. } in stretches {
            self.push(Piece { batch: *batch, start: *start, len: *len });
        }
    }

    fn push(&mut self, piece: Piece) {
        self.rows += piece.len;
        match self.pieces.last_mut() {
            Some(last) if last.batch == piece.batch && last.start + last.len == piece.start => last.len += piece.len,
            _ => self.pieces.push(piece),
        }
    }

    /// Order of two rows by some columns.
    fn compare(&self, columns: &[usize], a: Place, b: Place) -> cmp::Ordering {
        columns
            .iter()
            .map(|i| cursor::compare(self.batches[a.0].column(*i), a.1, self.batches[b.0].column(*i), b.1))
            .find(|order| order.is_ne())
            .unwrap_or(cmp::Ordering::Equal)
    }

    /// Adds rows one by one, in order; of rows with one key the one of the latest input.
    fn interleave(&mut self, order: &Order, stretches: &[Stretch]) {
        let rows = |stretch: &Stretch| {
            let Stretch { batch, start, len, input } = *stretch;
            (start..start + len).map(move |row| ((batch, row), input))
        };
        let mut rows: Vec<(Place, usize)> = stretches.iter().flat_map(rows).collect();
        rows.sort_by(|a, b| self.compare(&order.rest, a.0, b.0));
        let mut kept = Vec::with_capacity(rows.len());
        let is_same = |a: &(Place, usize), b: &(Place, usize)| {
            order.rest_key.is_some_and(|key| self.compare(&order.rest[..key], a.0, b.0).is_eq())
        };
        for same in rows.chunk_by(is_same) {
            if let Some(((batch, start), _)) = same.iter().max_by_key(|(_, input)| *input) {
                kept.push(Piece { batch: *batch, start: *start, len: 1 });
            }
        }
        kept.into_iter().for_each(|piece| self.push(piece));
    }

    /// The rows as one batch. Batches that are still being read stay.
    fn drain(&mut self, dataset: &Dataset) -> Result<RecordBatch> {
        let rows = assemble(dataset.file_schema(), &self.batches, &self.pieces)?;
        self.pieces.clear();
        self.rows = 0;
        let mut kept = Vec::with_capacity(self.reading.len());
        for reading in self.reading.iter_mut().flatten() {
            kept.push(self.batches[*reading].clone());
            *reading = kept.len() - 1;
        }
        self.batches = kept;
        Ok(rows)
    }
}

/// The file being written.
struct Output {
    dataset: &'static Dataset,
    effort: Effort,
    cut: Cut,
    chunk: Chunk,
    file: Option<FileWriter>,
    /// First word of the key that was added last.
    first: Option<Word>,
    without: Option<Without>,
    /// Rows that were left out.
    left_out: u64,
}

impl Output {
    fn new(dataset: &'static Dataset, effort: Effort, cut: Cut) -> Self {
        let chunk = Chunk::default();
        Self { dataset, effort, cut, chunk, file: None, first: None, without: None, left_out: 0 }
    }

    fn write(&mut self) -> Result<()> {
        if self.chunk.rows > 0 {
            let rows = self.chunk.drain(self.dataset)?;
            if self.file.is_none() {
                self.file = Some(FileWriter::new(self.dataset, self.effort)?);
            }
            if let Some(file) = &mut self.file {
                file.write(&rows)?;
            }
        }
        Ok(())
    }

    /// The file, if it is large enough to end before this key.
    fn cut_before(&mut self, key: &Key) -> Result<Option<Encoded>> {
        let same = self.first.as_ref() == key.first();
        if !same {
            self.first = key.first().cloned();
        }
        let limit = if same { self.cut.hard } else { self.cut.soft };
        if self.file.as_ref().is_none_or(|file| file.bytes() < limit) {
            return Ok(None);
        }
        self.finish()
    }

    fn finish(&mut self) -> Result<Option<Encoded>> {
        self.write()?;
        self.file.take().map(FileWriter::finish).transpose()
    }
}

#[cfg(test)]
mod tests;
