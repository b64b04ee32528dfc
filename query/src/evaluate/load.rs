//! Series and samples of a query: found in the index, read by place.

use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use futures::FutureExt;
use hashbrown::HashMap;
use promql::{HistogramSample, Labels, Options, Planned, Samples, Symbol, Symbols, Want};

use crate::{
    Engine, Error, ErrorKind, Result, Wanted,
    filter::filters,
    index::{Known, days_of},
    native,
    series::{Series, on_days},
    table::{Read, Table},
};

/// What a query is evaluated over.
pub(super) struct Loaded {
    /// Of each want.
    pub samples: Vec<Samples>,
    pub symbols: Symbols,
    pub memory: Vec<MemoryReservation>,
    /// How many samples.
    pub read: usize,
}

/// Series of a want, in order of metric and id.
struct Found {
    labels: Vec<Labels>,
    /// Name of the metric and id of each.
    keys: Vec<(Symbol, i64)>,
}

/// Tables of one cut.
struct Tables {
    samples: Arc<Table>,
    histograms: Arc<Table>,
    series: Arc<Table>,
}

impl Engine {
    pub(super) async fn load(&self, planned: &Planned) -> Result<Loaded> {
        // A series is committed before its samples: whoever sees the samples first finds all their series.
        let (samples, histograms) = (self.table(schemas::samples()), self.table(schemas::histograms()));
        let tables = Tables { samples, histograms, series: self.table(schemas::series()) };
        let mut loaded = Loaded { samples: Vec::new(), symbols: Symbols::default(), memory: Vec::new(), read: 0 };
        for want in planned.wants() {
            let found = self.find_series(&tables.series, want, &mut loaded.symbols).await?;
            let bytes = found.keys.len() * (size_of::<Labels>() + size_of::<(Symbol, i64)>() + BYTES_OF_LABELS);
            let memory = MemoryConsumer::new("series of PromQL").register(self.memory_pool());
            memory.try_grow(bytes + loaded.symbols.bytes())?;
            loaded.memory.push(memory);
            let samples = self.read_samples(&tables, (want, planned.options()), found, &mut loaded).await?;
            loaded.read += samples.floats_count();
            loaded.samples.push(samples);
        }
        Ok(loaded)
    }

    async fn find_series(&self, table: &Arc<Table>, want: &Want, symbols: &mut Symbols) -> Result<Found> {
        let (state, index) = (self.session_state(), self.index());
        let times_us = (microseconds(want.after_ms.saturating_add(1)), microseconds(want.to_ms));
        let days = days_of(Some(times_us.0), Some(times_us.1));
        if let Some(known) = index.load(&state, table, &days).await? {
            let matching = known.matching(&want.matchers, known.on(&days));
            return Ok(of_index(&known, matching.into_iter(), symbols));
        }
        let mut series = Series::none(&state, Wanted::Labels);
        let on_days = on_days(Some(times_us.0), Some(times_us.1));
        series.find(&state, table, [filters(&want.matchers), on_days].concat()).await?;
        of_table(&series, symbols)
    }

    async fn read_samples(
        &self,
        tables: &Tables,
        (want, options): (&Want, &Options),
        found: Found,
        loaded: &mut Loaded,
    ) -> Result<Samples> {
        let Found { labels, keys } = found;
        if keys.is_empty() {
            return Ok(Samples::default());
        }
        let series: Vec<(&str, i64)> = keys.iter().map(|(metric, id)| (loaded.symbols.text(*metric), *id)).collect();
        let read = Read {
            series: &series,
            times_ms: want.after_ms.saturating_add(1)..want.to_ms.saturating_add(1),
            with_starts: options.features.start_timestamps,
            samples_max: options.samples_max.saturating_sub(loaded.read),
        };
        let pool = Arc::clone(self.memory_pool());
        let mut floats = tables.samples.read_floats(&read, &pool).boxed().await?;
        loaded.memory.push(floats.take_memory());
        let mut histograms = Vec::new();
        if tables.histograms.has_rows() {
            // The sample before the first one tells whether its counter was reset.
            let from_ms = read.times_ms.start.saturating_sub(options.lookback_ms);
            let read = Read { times_ms: from_ms..read.times_ms.end, ..read };
            let mut rows = tables.histograms.read_histogram_rows(&read, &pool).boxed().await?;
            loaded.memory.push(rows.take_memory());
            histograms = native::histograms(&rows, series.len(), want.after_ms)?;
        }
        let samples = Samples { labels, floats: floats.floats, places: floats.places, histograms };
        Ok(without_empty(samples))
    }
}

/// Bytes of labels and the index into them, about, for a series with ten labels.
const BYTES_OF_LABELS: usize = 96;

fn microseconds(milliseconds: i64) -> i64 {
    milliseconds.saturating_mul(1000)
}

fn of_index(known: &Known, series: impl Iterator<Item = u32>, symbols: &mut Symbols) -> Found {
    let mut pairs: HashMap<u32, (Symbol, Symbol)> = HashMap::new();
    let mut found: Vec<(Symbol, i64, Labels)> = Vec::new();
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
    sorted(found, symbols)
}

fn of_table(series: &Series, symbols: &mut Symbols) -> Result<Found> {
    let mut found = Vec::with_capacity(series.len());
    series.each(|metric, id, labels| {
        let labels = Labels::of([(promql::NAME, metric)].into_iter().chain(labels.iter().copied()), symbols);
        found.push((symbols.number(metric), id, labels));
    })?;
    Ok(sorted(found, symbols))
}

fn sorted(mut found: Vec<(Symbol, i64, Labels)>, symbols: &Symbols) -> Found {
    // Files are sorted by the text of the metric and the id.
    found.sort_unstable_by(|left, right| {
        let metrics =
            if left.0 == right.0 { std::cmp::Ordering::Equal } else { symbols.text(left.0).cmp(symbols.text(right.0)) };
        metrics.then(left.1.cmp(&right.1))
    });
    let (labels, keys) = found.into_iter().map(|(metric, id, labels)| (labels, (metric, id))).unzip();
    Found { labels, keys }
}

/// Leaves out series without samples: they were there at another time of the day.
fn without_empty(samples: Samples) -> Samples {
    let has_histograms = |at: usize| samples.histograms.get(at).is_some_and(|of: &Vec<HistogramSample>| !of.is_empty());
    let is_kept = |at: usize| samples.places[at].start < samples.places[at].end || has_histograms(at);
    let kept: Vec<usize> = (0..samples.labels.len()).filter(|at| is_kept(*at)).collect();
    if kept.len() == samples.labels.len() {
        return samples;
    }
    let labels = kept.iter().map(|at| samples.labels[*at].clone()).collect();
    let places = kept.iter().map(|at| samples.places[*at]).collect();
    let histograms = kept.iter().filter_map(|at| samples.histograms.get(*at).cloned()).collect();
    Samples { labels, places, histograms, ..samples }
}

impl Error {
    /// What the table has is not what it should have.
    pub(crate) fn wrong_columns(what: &str) -> Self {
        Self::new(ErrorKind::Internal, format!("rows lack a column column={what}"))
    }
}
