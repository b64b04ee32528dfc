//! Series and samples of one moment: series are found in the index, rows are read by place.
//!
//! Called by PromQL's [`evaluate`](crate::evaluate), and by [`raw`](crate::raw) for what hands samples on as they were sent.
//!
//! Invariants: the views of samples are taken before that of the series, which are committed first, so that no sample lacks its labels;
//! labels and rows take their memory from the queries' pool. Not here: what the rows mean.

use std::{
    cmp::Ordering,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::FutureExt;
use hashbrown::HashMap;
use promql::{Labels, Matcher, NAME, Symbol, Symbols};
use storage::View;

use crate::{
    Engine, Error, ErrorKind, Result, Wanted,
    filter::filters,
    index::{Known, days_of},
    series::{Series, on_days},
    table::{Found, Histograms, Present, Read, Table},
};

/// Bytes of labels and the index into them, about, for a series with ten labels.
const BYTES_OF_LABELS: usize = 96;

/// Tables of one moment.
pub(crate) struct Cut {
    engine: Engine,
    samples: Arc<Table>,
    histograms: Arc<Table>,
    series: Arc<Table>,
    /// Is set when nobody waits any more.
    stop: Arc<AtomicBool>,
}

/// Name of a series' metric, and its id.
pub(crate) type Key<'a> = (&'a str, i64);

/// Series in order of metric and id, which is that of files.
pub(crate) struct Located {
    pub labels: Vec<Labels>,
    /// Name of the metric and id of each.
    keys: Vec<(Symbol, i64)>,
    pub memory: MemoryReservation,
}

/// Which samples are read.
#[derive(Clone)]
pub(crate) struct Extent {
    /// Milliseconds, half-open.
    pub times_ms: Range<i64>,
    /// From when on histograms are, milliseconds: those before the others may be needed to understand these.
    pub histograms_from_ms: i64,
    /// When the counters began, too?
    pub with_starts: bool,
    pub samples_max: usize,
}

impl Engine {
    /// The tables as they are now.
    pub(crate) fn cut(&self) -> Cut {
        let (samples, histograms) = (self.table(schemas::samples()), self.table(schemas::histograms()));
        let (series, stop) = (self.table(schemas::series()), Arc::default());
        Cut { engine: self.clone(), samples, histograms, series, stop }
    }
}

impl Cut {
    /// To end its work when this is set.
    pub(crate) fn stopped_by(self, stop: &Arc<AtomicBool>) -> Self {
        Self { stop: Arc::clone(stop), ..self }
    }

    /// What samples are in: floats and native histograms.
    pub(crate) fn of_samples(&self) -> [&View; 2] {
        [self.samples.view(), self.histograms.view()]
    }

    /// Series of which all matchers of any list are true, in a range of milliseconds, half-open.
    pub(crate) async fn find(
        &self,
        selectors: &[&[Matcher]],
        times_ms: Range<i64>,
        symbols: &mut Symbols,
    ) -> Result<Located> {
        let (state, texts) = (self.engine.session_state(), symbols.bytes());
        let times_us = (Some(microseconds(times_ms.start)), Some(microseconds(times_ms.end).saturating_sub(1)));
        let days = days_of(times_us.0, times_us.1);
        let found = if times_ms.is_empty() {
            Vec::new()
        } else if let Some(known) = self.engine.index().load(state, &self.series, &days).await? {
            let matching = known.any(selectors.iter().copied(), known.on(&days), &self.stop);
            if self.stop.load(Relaxed) {
                return Err(Error::new(ErrorKind::Canceled, "query was stopped"));
            }
            self.check_series(usize::try_from(matching.len()).unwrap_or(usize::MAX))?;
            of_index(&known, matching.into_iter(), symbols)
        } else {
            let mut series = Series::none(state, Wanted::Labels);
            for matchers in selectors {
                let filters = [filters(matchers), on_days(times_us.0, times_us.1)].concat();
                series.find(state, &self.series, filters).await?;
            }
            self.check_series(series.len())?;
            of_table(&series, symbols)?
        };
        let memory = MemoryConsumer::new("series of samples").register(self.engine.memory_pool());
        let bytes = found.len() * (size_of::<(Symbol, i64, Labels)>() + BYTES_OF_LABELS);
        memory.try_grow(bytes + symbols.bytes() - texts)?;
        Ok(Located::new(found, symbols, memory))
    }

    /// Refuses a selector that selects more series than one may.
    fn check_series(&self, series: usize) -> Result<()> {
        let series_max = self.engine.config().promql.series_max;
        if series <= series_max {
            return Ok(());
        }
        let what = "a selector selects too many series; narrow it or raise `promql.series_max`";
        Err(Error::new(ErrorKind::Execution, format!("{what} series={series} series_max={series_max}")))
    }

    /// When series have samples that are not too old; `None` if native histograms would have to be looked at, too.
    pub(crate) async fn read_present(
        &self,
        keys: &[Key<'_>],
        extent: Extent,
        lookback_ms: i64,
    ) -> Result<Option<Present>> {
        if self.histograms.has_rows() {
            return Ok(None);
        }
        let Extent { times_ms, samples_max, .. } = extent;
        let read = Read { series: keys, times_ms, with_starts: false, samples_max };
        Ok(Some(self.samples.read_present(&read, lookback_ms, self.engine.memory_pool()).boxed().await?))
    }

    /// Reads samples of series; histograms if there are any at all.
    pub(crate) async fn read(&self, keys: &[Key<'_>], extent: Extent) -> Result<(Found, Option<Histograms>)> {
        let Extent { times_ms, histograms_from_ms, with_starts, samples_max } = extent;
        let pool = self.engine.memory_pool();
        let read = Read { series: keys, times_ms, with_starts, samples_max };
        let floats = self.samples.read_floats(&read, pool).boxed().await?;
        if keys.is_empty() || !self.histograms.has_rows() {
            return Ok((floats, None));
        }
        let samples_max = samples_max.saturating_sub(floats.count());
        let read = Read { times_ms: histograms_from_ms..read.times_ms.end, samples_max, ..read };
        let histograms = self.histograms.read_histogram_rows(&read, pool).boxed().await?;
        Ok((floats, Some(histograms)))
    }
}

impl Located {
    /// What names each, in order.
    pub(crate) fn keys<'s>(&self, symbols: &'s Symbols) -> Vec<Key<'s>> {
        self.keys.iter().map(|(metric, id)| (symbols.text(*metric), *id)).collect()
    }

    fn new(mut found: Vec<(Symbol, i64, Labels)>, symbols: &Symbols, memory: MemoryReservation) -> Self {
        // By the text of the metric, not its number.
        found.sort_unstable_by(|left, right| {
            let metrics =
                if left.0 == right.0 { Ordering::Equal } else { symbols.text(left.0).cmp(symbols.text(right.0)) };
            metrics.then(left.1.cmp(&right.1))
        });
        let (labels, keys) = found.into_iter().map(|(metric, id, labels)| (labels, (metric, id))).unzip();
        Self { labels, keys, memory }
    }
}

fn microseconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_mul(1000)
}

fn of_index(known: &Known, series: impl Iterator<Item = u32>, symbols: &mut Symbols) -> Vec<(Symbol, i64, Labels)> {
    let mut pairs: HashMap<u32, (Symbol, Symbol)> = HashMap::new();
    let mut found = Vec::new();
    for series in series {
        let of_series = known.pairs_of(series);
        let mut labels = Vec::with_capacity(of_series.len());
        for pair in of_series {
            let number = *pairs.entry(*pair).or_insert_with(|| {
                let (name, value) = known.pair_texts(*pair);
                (symbols.number(name), symbols.number(value))
            });
            labels.push(number);
        }
        let metric = labels.first().map_or(Symbol::EMPTY, |(_, metric)| *metric);
        found.push((metric, known.id(series), Labels::new(labels, symbols)));
    }
    found
}

fn of_table(series: &Series, symbols: &mut Symbols) -> Result<Vec<(Symbol, i64, Labels)>> {
    let mut found = Vec::with_capacity(series.len());
    series.each(|metric, id, labels| {
        let labels = Labels::of([(NAME, metric)].into_iter().chain(labels.iter().copied()), symbols);
        found.push((symbols.number(metric), id, labels));
    })?;
    Ok(found)
}
