//! Samples of series, as a query is given them.
//!
//! Filled by whoever reads storage for a [`Want`](crate::Want); read by the evaluator. The floats of many series stand one after
//! another in flat vectors, and a series only says where its own are: what was decoded from a file once is looked at where it is, by
//! all queries that want it.
//!
//! Invariants: times ascend within a series, each once; there are as many values, and start times if there are any, as times;
//! staleness markers are among them.

use std::{ops::Range, sync::Arc};

use crate::{Histogram, Labels, ResetHint};

/// Bits of the NaN by which Prometheus says that a series has ended.
pub const STALE: u64 = 0x7ff0_0000_0000_0002;

/// A start time that is not known.
pub const NO_START: i64 = 0;

/// Samples of some series.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Of each series.
    pub labels: Vec<Labels>,
    /// What floats there are; several series share them.
    pub floats: Vec<Arc<Floats>>,
    /// Where the floats of each series are.
    pub places: Vec<Place>,
    /// Native histograms of each series, in ascending time; empty if no series has any.
    pub histograms: Vec<Vec<HistogramSample>>,
    /// If nothing else is known, and need not be: when each series has a sample that is not too old, milliseconds, half-open, in
    /// ascending time.
    pub present: Option<Vec<Vec<Range<i64>>>>,
}

/// Floats with their times; those of one series stand together, in ascending time.
#[derive(Debug, Default)]
pub struct Floats {
    times: Vec<i64>,
    values: Vec<f64>,
    starts: Vec<i64>,
    has_stale: bool,
}

/// Some of the floats: which of [`Samples::floats`], and which of them, half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Which.
    pub floats: u32,
    /// The first.
    pub start: u32,
    /// After the last.
    pub end: u32,
}

/// Samples that are gathered series by series.
#[derive(Debug, Default)]
pub struct Gather {
    samples: Samples,
    times: Vec<i64>,
    values: Vec<f64>,
    starts: Vec<i64>,
}

/// A native histogram at a time.
#[derive(Debug, Clone)]
pub struct HistogramSample {
    /// Milliseconds.
    pub time: i64,
    /// When its counter began, milliseconds, or [`NO_START`].
    pub start: i64,
    /// Was its counter reset since the sample before? Its hint does not say so, as in Prometheus.
    pub is_reset: bool,
    /// Shared by all steps that show it.
    pub histogram: Arc<Histogram>,
}

impl HistogramSample {
    /// Says of each histogram of a series whether its counter was reset since the one before it, as the storage of Prometheus does,
    /// and leaves out those up to `after_ms`, which are there to be looked back at. Of the first of all it is known only what its
    /// sender said.
    #[must_use]
    pub fn linked(mut samples: Vec<Self>, after_ms: i64) -> Vec<Self> {
        for at in 1..samples.len() {
            let (before, rest) = samples.split_at_mut(at);
            let (Some(before), Some(sample)) = (before.last(), rest.first_mut()) else { continue };
            let histogram = &sample.histogram;
            if histogram.hint == ResetHint::Gauge || histogram.is_stale() {
                continue;
            }
            sample.is_reset = !before.histogram.is_stale() && histogram.detect_reset(&before.histogram);
            let is_known = !before.histogram.is_stale() && !sample.is_reset;
            let hint = if is_known { ResetHint::NoReset } else { ResetHint::Unknown };
            if histogram.hint != hint {
                Arc::make_mut(&mut sample.histogram).hint = hint;
            }
        }
        samples.retain(|sample| sample.time > after_ms);
        samples
    }
}

impl HistogramSample {
    /// A sample of which nothing is known but its histogram.
    #[must_use]
    pub fn new(time: i64, start: i64, histogram: Arc<Histogram>) -> Self {
        Self { time, start, is_reset: false, histogram }
    }

    /// With a hint that says that its counter was reset.
    pub(crate) fn told(&self) -> Self {
        if !self.is_reset {
            return self.clone();
        }
        let histogram = Histogram { hint: ResetHint::Reset, ..Histogram::clone(&self.histogram) };
        Self { histogram: Arc::new(histogram), ..*self }
    }
}

/// The samples of one series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Series<'s> {
    pub times: &'s [i64],
    pub values: &'s [f64],
    /// As many as times, or none.
    pub starts: &'s [i64],
    pub histograms: &'s [HistogramSample],
}

impl Series<'_> {
    /// The floats after a time and up to another; all histograms.
    pub(crate) fn between(self, after: i64, to: i64) -> Self {
        let first = count_until(self.times, |time| *time, after);
        let last = first + count_until(&self.times[first..], |time| *time, to);
        Self {
            times: &self.times[first..last],
            values: &self.values[first..last],
            starts: self.starts.get(first..last).unwrap_or_default(),
            histograms: self.histograms,
        }
    }
}

impl Samples {
    /// How many series.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// How many floats.
    #[must_use]
    pub fn floats_count(&self) -> usize {
        self.places.iter().map(|place| (place.end - place.start) as usize).sum()
    }

    /// How many samples; a histogram counts as its buckets do.
    pub(crate) fn count(&self) -> usize {
        self.floats_count()
            + self.histograms.iter().flatten().map(|sample| size_of_histogram(&sample.histogram)).sum::<usize>()
    }

    /// Can there be a staleness marker among the floats?
    pub(crate) fn may_be_stale(&self) -> bool {
        self.floats.iter().any(|floats| floats.has_stale)
    }

    /// Times and values of a series' floats.
    #[must_use]
    pub fn floats_of(&self, at: usize) -> (&[i64], &[f64]) {
        let series = self.series(at);
        (series.times, series.values)
    }

    pub(crate) fn series(&self, at: usize) -> Series<'_> {
        let histograms = self.histograms.get(at).map(Vec::as_slice).unwrap_or_default();
        let Place { floats, start, end } = self.places[at];
        let Some(floats) = self.floats.get(floats as usize) else {
            return Series { times: &[], values: &[], starts: &[], histograms };
        };
        let range = start as usize..end as usize;
        Series {
            times: &floats.times[range.clone()],
            values: &floats.values[range.clone()],
            starts: floats.starts.get(range).unwrap_or_default(),
            histograms,
        }
    }
}

impl Floats {
    /// As many values as times, milliseconds; as many start times, or none.
    #[must_use]
    pub fn new(times: Vec<i64>, values: Vec<f64>, starts: Vec<i64>) -> Self {
        let has_stale = values.iter().any(|value| is_stale(*value));
        Self { times, values, starts, has_stale }
    }

    /// Is there a staleness marker?
    #[must_use]
    pub fn has_stale(&self) -> bool {
        self.has_stale
    }

    /// Milliseconds.
    #[must_use]
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// As many as times.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// As many as times, or none: milliseconds, or [`NO_START`].
    #[must_use]
    pub fn starts(&self) -> &[i64] {
        &self.starts
    }
}

impl Gather {
    /// With room for so many floats.
    pub(crate) fn with_room(floats: usize) -> Self {
        Self { times: Vec::with_capacity(floats), values: Vec::with_capacity(floats), ..Self::default() }
    }

    /// Adds a series; as many values as times, and as many start times, or none.
    pub fn add(
        &mut self,
        labels: Labels,
        (times, values, starts): (&[i64], &[f64], &[i64]),
        histograms: Vec<HistogramSample>,
    ) {
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let start = number(self.times.len());
        self.times.extend_from_slice(times);
        self.values.extend_from_slice(values);
        self.starts.extend_from_slice(starts);
        self.samples.places.push(Place { floats: 0, start, end: number(self.times.len()) });
        self.samples.labels.push(labels);
        self.samples.histograms.push(histograms);
    }

    /// All that was added.
    #[must_use]
    pub fn finish(self) -> Samples {
        let Self { mut samples, times, values, mut starts } = self;
        if starts.len() != times.len() {
            starts.clear();
        }
        samples.floats.push(Arc::new(Floats::new(times, values, starts)));
        if samples.histograms.iter().all(Vec::is_empty) {
            samples.histograms.clear();
        }
        samples
    }
}

/// How many samples of ascending time are not after a time. They come at even intervals mostly, so it is looked for where it would be
/// then: halving a day of samples touches a line of memory that is not in the cache at each step.
pub(crate) fn count_until<T>(samples: &[T], time: impl Fn(&T) -> i64, at: i64) -> usize {
    let [first, .., last] = samples else { return samples.iter().filter(|sample| time(sample) <= at).count() };
    let (first, last) = (time(first), time(last));
    if at < first {
        return 0;
    }
    if at >= last {
        return samples.len();
    }
    let share = i128::from(at.abs_diff(first)) * (samples.len() - 1) as i128 / i128::from(last.abs_diff(first)).max(1);
    let guess = usize::try_from(share).unwrap_or(0).min(samples.len() - 1);
    // What is before `low` is not after the time, what is from `high` on is.
    let mut step = 1;
    let (low, high) = if time(&samples[guess]) <= at {
        let mut low = guess + 1;
        while low + step <= samples.len() && time(&samples[low + step - 1]) <= at {
            (low, step) = (low + step, step * 2);
        }
        (low, samples.len().min(low + step))
    } else {
        let mut high = guess;
        while high > step && time(&samples[high - step]) > at {
            (high, step) = (high - step, step * 2);
        }
        (high.saturating_sub(step), high)
    };
    low + samples[low..high].partition_point(|sample| time(sample) <= at)
}

/// Is a value a staleness marker?
pub(crate) fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE
}

/// How many floats with their times take as much memory as a histogram.
fn size_of_histogram(histogram: &Histogram) -> usize {
    let of = |buckets: &crate::Buckets| buckets.spans.len() + buckets.counts.len();
    let words = of(&histogram.positive) + of(&histogram.negative) + histogram.custom_values.len();
    (size_of::<Histogram>() + 8 * words).div_ceil(16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn samples_until_a_time_are_counted_wherever_they_are(
            steps in prop::collection::vec(prop_oneof![3 => Just(15), 1 => 1..100_000_i64, 1 => Just(i64::MAX / 64)], 0..60),
            start in prop_oneof![Just(i64::MIN / 2), -1_000..1_000_i64],
            at in prop_oneof![any::<i64>(), -2_000..4_000_i64],
        ) {
            let mut next = start;
            let times: Vec<i64> = steps.iter().map(|step| { next += step; next }).collect();
            let near = times.iter().flat_map(|time| [time - 1, *time, time + 1]);
            for at in near.chain([at, i64::MIN, i64::MAX]) {
                let expected = times.iter().filter(|time| **time <= at).count();
                prop_assert_eq!(count_until(&times, |time| *time, at), expected);
            }
        }
    }
}
