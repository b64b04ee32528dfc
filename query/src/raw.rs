//! Samples of series as they were sent: what federation and remote read hand on.
//!
//! Called by their endpoints. Staleness markers stay. Invariants: labels and samples keep their memory of the queries' pool until the
//! answer is dropped.

use std::ops::Range;

use datafusion::execution::memory_pool::MemoryReservation;
use promql::{Labels, Matcher, NAME, Symbols};

use crate::{
    Engine, Result, Selector,
    cut::{Extent, Located},
    native::{Columns, Kept},
    table::{Found, Histograms},
};

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
        let (cut, mut symbols) = (self.cut(), Symbols::default());
        let matchers: Vec<&[Matcher]> = selectors.iter().map(Selector::matchers).collect();
        let located = cut.find(&matchers, times_ms.clone(), &mut symbols).await?;
        let histograms_from_ms = times_ms.start;
        let samples_max = self.config().promql.samples_max;
        let extent = Extent { times_ms, histograms_from_ms, with_starts: false, samples_max };
        let (floats, rows) = cut.read(&located.keys(&symbols), extent).await?;
        let native = rows.map(Native::new).transpose()?;
        let Located { labels, memory, .. } = located;
        let order = (0..labels.len()).collect();
        let mut raw = Raw { symbols, labels, order, floats, native, _memory: memory };
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
