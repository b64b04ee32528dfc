//! Samples of series as they were sent: what federation and remote read hand on.
//!
//! Called by their endpoints. Series are found in the index, their rows are read by place, and staleness markers stay.
//!
//! Invariants: samples are read of views that were taken before that of the series, so that no sample lacks its labels; labels and
//! samples take their memory from the queries' pool until the answer is dropped.

use std::ops::Range;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::FutureExt;
use promql::{Labels, NAME, Symbol, Symbols};

use crate::{
    Engine, Result, Selector, Wanted,
    native::{Columns, Kept},
    table::{Found, Histograms, Read},
};

/// Bits of the NaN by which Prometheus says that a series has ended.
pub(crate) const STALE: u64 = 0x7ff0_0000_0000_0002;
/// Bytes of labels and the places of them, about, for a series with ten labels.
const BYTES_OF_SERIES: usize = 128;

/// Samples of series.
pub(crate) struct Raw {
    /// Texts of the labels.
    pub symbols: Symbols,
    labels: Vec<Labels>,
    /// Numbers of the series that have samples, in order of their labels.
    order: Vec<usize>,
    floats: Found,
    native: Option<Native>,
    _memory: MemoryReservation,
}

/// Rows of histograms, those of each series together.
struct Native {
    rows: Histograms,
    columns: Vec<Columns>,
    /// Rows up to the end of each batch.
    ends: Vec<usize>,
}

/// The samples of one series.
#[derive(Clone, Copy)]
pub(crate) struct RawSeries<'r> {
    raw: &'r Raw,
    labels: &'r Labels,
    number: usize,
    /// Milliseconds.
    pub times_ms: &'r [i64],
    pub values: &'r [f64],
}

impl Engine {
    /// Samples of the series of any of the selectors, milliseconds, half-open. Part of work that has its place among the running.
    ///
    /// # Errors
    /// `Execution` if they are more than a query may read, or than there is memory for; what reading met.
    pub(crate) async fn raw(&self, selectors: &[Selector], times_ms: Range<i64>) -> Result<Raw> {
        let (samples, histograms) = (self.table(schemas::samples()), self.table(schemas::histograms()));
        let us = |ms: i64| ms.saturating_mul(1000);
        let found = self.series_of(selectors, us(times_ms.start)..us(times_ms.end), Wanted::Labels).await?;
        let mut symbols = Symbols::default();
        let mut series: Vec<(Symbol, i64, Labels)> = Vec::with_capacity(found.len());
        found.each(|metric, id, labels| {
            let labels = Labels::of([(NAME, metric)].into_iter().chain(labels.iter().copied()), &mut symbols);
            series.push((symbols.number(metric), id, labels));
        })?;
        drop(found);
        let memory = MemoryConsumer::new("series of raw samples").register(self.memory_pool());
        memory.try_grow(series.len() * BYTES_OF_SERIES + symbols.bytes())?;
        // Files are sorted by the text of the metric and the id.
        series.sort_unstable_by(|left, right| (symbols.text(left.0), left.1).cmp(&(symbols.text(right.0), right.1)));
        let keys: Vec<(&str, i64)> = series.iter().map(|(metric, id, _)| (symbols.text(*metric), *id)).collect();
        let samples_max = self.config().promql.samples_max;
        let read = Read { series: &keys, times_ms, with_starts: false, samples_max };
        let pool = self.memory_pool();
        let floats = samples.read_floats(&read, pool).boxed().await?;
        let native = if histograms.has_rows() {
            let read = Read { samples_max: samples_max.saturating_sub(floats.count()), ..read };
            Some(Native::new(histograms.read_histogram_rows(&read, pool).boxed().await?)?)
        } else {
            None
        };
        let labels: Vec<Labels> = series.into_iter().map(|(_, _, labels)| labels).collect();
        let mut raw = Raw { symbols, order: (0..labels.len()).collect(), labels, floats, native, _memory: memory };
        raw.arrange();
        Ok(raw)
    }
}

impl Raw {
    /// Puts series in the order of their labels, and leaves out those without samples: they were there at another time of the day.
    fn arrange(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.retain(|number| {
            let series = self.of(*number);
            !series.times_ms.is_empty() || !series.rows().is_empty()
        });
        order.sort_by(|left, right| self.labels[*left].compare(&self.labels[*right], &self.symbols));
        self.order = order;
    }

    /// Sorts the series by one text of each; those of one text stay in the order of their labels.
    pub(crate) fn sort_by_metric(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.sort_by(|left, right| self.of(*left).metric().cmp(self.of(*right).metric()));
        self.order = order;
    }

    /// How many series have samples.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// How many samples there are.
    pub(crate) fn samples(&self) -> usize {
        self.floats.count() + self.native.as_ref().map_or(0, |native| native.rows.series.len())
    }

    /// One of the series.
    pub(crate) fn series(&self, at: usize) -> RawSeries<'_> {
        self.of(self.order[at])
    }

    fn of(&self, number: usize) -> RawSeries<'_> {
        let (times_ms, values) = self.floats.of(number);
        RawSeries { raw: self, labels: &self.labels[number], number, times_ms, values }
    }
}

impl Native {
    fn new(rows: Histograms) -> Result<Self> {
        let columns = rows.batches.iter().map(Columns::of).collect::<Result<Vec<_>>>()?;
        let ends = rows.batches.iter().scan(0, |end, batch| {
            *end += batch.num_rows();
            Some(*end)
        });
        Ok(Self { columns, ends: ends.collect(), rows })
    }

    /// The batch of a row, and which row of it that is.
    fn place(&self, row: usize) -> (&Columns, usize) {
        let batch = self.ends.partition_point(|end| *end <= row);
        let before = batch.checked_sub(1).map_or(0, |before| self.ends[before]);
        (&self.columns[batch], row - before)
    }
}

impl<'r> RawSeries<'r> {
    /// The name of its metric; empty if it has none.
    pub(crate) fn metric(&self) -> &'r str {
        self.texts().find(|(name, _)| *name == NAME).map_or("", |(_, value)| value)
    }

    /// Names and values of its labels, in order of the names.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (&'r str, &'r str)> + use<'r> {
        self.labels.texts(&self.raw.symbols)
    }

    /// Its native histograms with their times, milliseconds, in ascending time.
    pub(crate) fn histograms(&self) -> impl Iterator<Item = (i64, Kept)> + use<'r> {
        let native = self.raw.native.as_ref();
        self.rows().filter_map(move |row| {
            let (columns, row) = native?.place(row);
            Some((columns.time_ms(row), columns.kept(row)))
        })
    }

    fn rows(&self) -> Range<usize> {
        let Some(native) = &self.raw.native else { return 0..0 };
        let series = &native.rows.series;
        series.partition_point(|number| (*number as usize) < self.number)
            ..series.partition_point(|number| (*number as usize) <= self.number)
    }
}
