//! Samples of a query, as the evaluator takes them.

use datafusion::execution::memory_pool::MemoryReservation;
use promql::{HistogramSample, Options, Samples, Symbols, Want};

use crate::{
    Result,
    cut::{Cut, Extent, Located},
    native,
};

/// What a query is evaluated over. Holds its memory of the pool until it is dropped.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Of each want.
    pub samples: Vec<Samples>,
    /// Texts of the labels.
    pub symbols: Symbols,
    pub(super) memory: Vec<MemoryReservation>,
    /// How many samples.
    pub(super) read: usize,
}

/// The series of a query, before their samples are read.
pub(super) struct Selected {
    pub symbols: Symbols,
    /// Of each want.
    pub located: Vec<Located>,
}

impl Selected {
    /// Finds the series of the wants of a query.
    pub(super) async fn of(wants: &[Want], cut: &Cut) -> Result<Self> {
        let mut selected = Self { symbols: Symbols::default(), located: Vec::with_capacity(wants.len()) };
        for want in wants {
            let times_ms = want.after_ms.saturating_add(1)..want.to_ms.saturating_add(1);
            selected.located.push(cut.find(&[&*want.matchers], times_ms, &mut selected.symbols).await?);
        }
        Ok(selected)
    }

    /// Reads their samples.
    pub(super) async fn load(self, wants: &[Want], options: &Options, cut: &Cut) -> Result<Loaded> {
        let mut loaded = Loaded { symbols: self.symbols, ..Loaded::default() };
        for (want, located) in wants.iter().zip(self.located) {
            let samples = loaded.read(cut, located, want, options).await?;
            loaded.samples.push(samples);
        }
        Ok(loaded)
    }
}

/// Which samples a want is about, of which at most `samples_max` are read.
pub(super) fn extent(want: &Want, options: &Options, samples_max: usize) -> Extent {
    let from_ms = want.after_ms.saturating_add(1);
    Extent {
        times_ms: from_ms..want.to_ms.saturating_add(1),
        // The sample before the first one tells whether its counter was reset.
        histograms_from_ms: from_ms.saturating_sub(options.lookback_ms),
        with_starts: options.features.start_timestamps,
        samples_max,
    }
}

impl Loaded {
    async fn read(&mut self, cut: &Cut, located: Located, want: &Want, options: &Options) -> Result<Samples> {
        let extent = extent(want, options, options.samples_max.saturating_sub(self.read));
        let keys = located.keys(&self.symbols);
        if want.presence
            && let Some(present) = cut.read_present(&keys, extent.clone(), options.lookback_ms).await?
        {
            self.read += present.samples;
            self.memory.extend([located.memory, present.memory]);
            let samples = Samples { labels: located.labels, present: Some(present.spans), ..Samples::default() };
            return Ok(without_empty(samples));
        }
        let (mut floats, rows) = cut.read(&keys, extent).await?;
        let Located { labels, memory, .. } = located;
        self.memory.extend([memory, floats.take_memory()]);
        let mut histograms = Vec::new();
        if let Some(mut rows) = rows {
            self.memory.push(rows.take_memory());
            histograms = native::histograms(&rows, labels.len(), want.after_ms)?;
        }
        self.read += floats.count();
        let (floats, places) = (floats.floats, floats.places);
        Ok(without_empty(Samples { labels, floats, places, histograms, present: None }))
    }
}

/// Leaves out series without samples: they were there at another time of the day.
pub(super) fn without_empty(samples: Samples) -> Samples {
    let has_histograms = |at: usize| samples.histograms.get(at).is_some_and(|of: &Vec<HistogramSample>| !of.is_empty());
    let has_floats = |at: usize| samples.places.get(at).is_some_and(|place| place.start < place.end);
    let is_present = |at: usize| samples.present.as_ref().is_some_and(|present| !present[at].is_empty());
    let is_kept = |at: usize| has_floats(at) || has_histograms(at) || is_present(at);
    let kept: Vec<usize> = (0..samples.labels.len()).filter(|at| is_kept(*at)).collect();
    if kept.len() == samples.labels.len() {
        return samples;
    }
    let labels = kept.iter().map(|at| samples.labels[*at].clone()).collect();
    let places = kept.iter().filter_map(|at| samples.places.get(*at)).copied().collect();
    let of_kept = |present: Vec<_>| kept.iter().filter_map(|at| present.get(*at).cloned()).collect();
    let present = samples.present.map(of_kept);
    let histograms = kept.iter().filter_map(|at| samples.histograms.get(*at).cloned()).collect();
    Samples { labels, floats: samples.floats, places, histograms, present }
}
