//! Where the rows of each series stand in a file: the index from series to rows.
//!
//! Called when samples of known series are wanted. Files of samples are sorted by metric and series, so a series is one stretch of
//! rows, and who knows the stretch reads the pages of time and value that hold it and nothing else. The index is no part of a file:
//! the column of ids, run-length encoded over a dictionary, says the same in the same bytes, and is read once while the file is in use.
//!
//! Invariant: only for files that were written sorted; what such a file holds never changes, and its name is never used again.
//! Derived state: dropped when its memory is wanted for files used later.

use std::{collections::HashMap, ops::Range, sync::Arc};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use datafusion::common::{DataFusionError, Result};
use futures::{TryStreamExt, future::BoxFuture};
use object_store::path::Path;
use parking_lot::Mutex;
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::{ArrowReaderOptions, RowSelection, RowSelector},
        async_reader::AsyncFileReader,
    },
    errors::Result as ParquetResult,
    file::metadata::{PageIndexPolicy, ParquetMetaData},
};
use storage::DataFile;

/// Rows decoded at once.
const BATCH_ROWS: usize = 64 << 10;

/// The stretches of a file.
#[derive(Debug, Default)]
pub(crate) struct Ranges {
    /// Each metric, and which of `ids` is its first; in order.
    metrics: Vec<(Box<str>, usize)>,
    /// Ids, in order within their metric.
    ids: Vec<i64>,
    /// First row of each; one more than there are ids.
    starts: Vec<u64>,
}

/// A file's reader, sized, as Parquet wants it.
pub(super) struct Opened(pub Box<dyn AsyncFileReader + Send>);

impl AsyncFileReader for Opened {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.0.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        self.0.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        self.0.get_metadata(options)
    }
}

impl Ranges {
    /// Reads those of a file.
    pub(super) async fn read(reader: Box<dyn AsyncFileReader + Send>, file: &DataFile) -> Result<Self> {
        // With the page index, which stays in the cache of footers: without it, stretches are read by whole column chunks.
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let builder = ParquetRecordBatchStreamBuilder::new_with_options(Opened(reader), options).await?;
        let columns = ProjectionMask::columns(builder.parquet_schema(), ["metric", "series_id"]);
        let mut batches = builder.with_projection(columns).with_batch_size(BATCH_ROWS).build()?;
        let mut ranges = Self::default();
        let mut row = 0;
        while let Some(batch) = batches.try_next().await? {
            let wrong =
                || DataFusionError::Internal(format!("file has no ids and metrics of series file={}", file.path));
            let metrics = batch.column(0).as_any_dictionary_opt().ok_or_else(wrong)?;
            let names = metrics.values().as_string_opt::<i32>().ok_or_else(wrong)?;
            let keys = metrics.normalized_keys();
            let ids = batch.column(1).as_primitive_opt::<Int64Type>().ok_or_else(wrong)?.values();
            let mut last = None;
            for (key, id) in keys.iter().zip(ids) {
                if last != Some((*key, *id)) {
                    last = Some((*key, *id));
                    ranges.begin(names.value(*key), *id, row);
                }
                row += 1;
            }
        }
        ranges.starts.push(row);
        Ok(ranges)
    }

    fn begin(&mut self, metric: &str, id: i64, row: u64) {
        let same_metric = self.metrics.last().is_some_and(|(last, _)| **last == *metric);
        if same_metric && self.ids.last() == Some(&id) {
            // A stretch that goes on in the next batch.
            return;
        }
        if !same_metric {
            self.metrics.push((metric.into(), self.ids.len()));
        }
        self.ids.push(id);
        self.starts.push(row);
    }

    /// Ids of the series of a metric, in order, and the first row of each; one more than there are ids.
    pub(super) fn of_metric(&self, metric: &str) -> Option<(&[i64], &[u64])> {
        let at = self.metrics.binary_search_by(|(known, _)| (**known).cmp(metric)).ok()?;
        let first = self.metrics[at].1;
        let end = self.metrics.get(at + 1).map_or(self.ids.len(), |(_, next)| *next);
        Some((&self.ids[first..end], &self.starts[first..=end]))
    }

    /// Rows of a series.
    fn of(&self, metric: &str, id: i64) -> Option<Range<u64>> {
        let (ids, starts) = self.of_metric(metric)?;
        let at = ids.binary_search(&id).ok()?;
        Some(starts[at]..starts[at + 1])
    }

    /// The rows of some series as Parquet's reader takes them; none if there are none.
    pub(super) fn select<'a>(&self, series: impl Iterator<Item = (&'a str, i64)>) -> Option<RowSelection> {
        let mut wanted: Vec<Range<u64>> = series.filter_map(|(metric, id)| self.of(metric, id)).collect();
        wanted.sort_unstable_by_key(|rows| rows.start);
        let count = |rows: u64| usize::try_from(rows).unwrap_or(usize::MAX);
        let (mut selectors, mut row) = (Vec::with_capacity(2 * wanted.len() + 1), 0);
        for rows in wanted {
            selectors.push(RowSelector::skip(count(rows.start - row)));
            selectors.push(RowSelector::select(count(rows.end - rows.start)));
            row = rows.end;
        }
        if selectors.is_empty() {
            return None;
        }
        selectors.push(RowSelector::skip(count(self.starts.last().map_or(0, |end| end - row))));
        Some(selectors.into())
    }

    fn bytes(&self) -> usize {
        let names: usize = self.metrics.iter().map(|(name, _)| name.len() + size_of::<(Box<str>, usize)>()).sum();
        names + self.ids.len() * 8 + self.starts.len() * 8
    }
}

/// Those of the files that were used last.
#[derive(Debug)]
pub(crate) struct Known {
    bytes_max: usize,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    known: HashMap<Path, (Arc<Ranges>, u64)>,
    bytes: usize,
    /// Counts uses, so that the least used one is found.
    uses: u64,
}

impl Known {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, files: Mutex::default() }
    }

    /// Those of a file, if they are known.
    pub(super) fn get(&self, path: &Path) -> Option<Arc<Ranges>> {
        self.files.lock().get(path)
    }

    /// Keeps those of a file.
    pub(super) fn put(&self, path: Path, ranges: Arc<Ranges>) {
        self.files.lock().put(path, ranges, self.bytes_max);
    }
}

impl Files {
    fn get(&mut self, path: &Path) -> Option<Arc<Ranges>> {
        self.uses += 1;
        let (ranges, used) = self.known.get_mut(path)?;
        *used = self.uses;
        Some(Arc::clone(ranges))
    }

    fn put(&mut self, path: Path, ranges: Arc<Ranges>, bytes_max: usize) {
        self.bytes += ranges.bytes();
        self.uses += 1;
        if let Some((before, _)) = self.known.insert(path, (ranges, self.uses)) {
            self.bytes -= before.bytes();
        }
        while self.bytes > bytes_max {
            let oldest = self.known.iter().min_by_key(|(_, (_, used))| *used).map(|(path, _)| path.clone());
            let Some((gone, _)) = oldest.and_then(|path| self.known.remove(&path)) else { break };
            self.bytes -= gone.bytes();
        }
    }
}
