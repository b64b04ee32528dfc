//! One request under way through admission: its rows by dataset and lane, and the report of it.
//!
//! Called by [`Admission`](super::Admission) for one series after the other; ends in batches. Invariant: a slot says only
//! what the rows here say.

use std::sync::Arc;

use storage::{Batch, Lane};

use super::{Admitted, Labels, Request, label_bytes};
use crate::{
    Result,
    remote_write::{
        columns::{self, ExemplarRow, HistogramRow, MetadataRow, SampleColumns, SeriesRow},
        decoded::{Decoded, Series},
        exemplar::{self, ExemplarIndex},
        reject::{Reason, Reject, quoted},
        report::Report,
        series_index::{Bounds, DROPPED, Last, NONE, Slot},
        window::Window,
    },
};

/// Bytes of `series` rows one request may cause. A sample of 18 bytes on another day repeats all labels of its series, so
/// the size of the request bounds nothing here.
const SERIES_BYTES_MAX: usize = 128 << 20;
const TOO_MANY_DAYS: Reject =
    Reject::new(Reason::SeriesLimit, "request spreads too many series over too many days; send smaller requests");

/// One request on its way.
pub(super) struct Work<'w, 'a> {
    pub(super) request: Request<'a>,
    pub(super) window: &'w Window,
    pub(super) labels: &'w mut Labels<'a>,
    known_from: i32,
    /// Bytes that rows of `series` may still take.
    series_bytes_left: usize,
    pub(super) metrics: Vec<Arc<str>>,
    series: Lanes<Vec<SeriesRow<'a>>>,
    samples: Lanes<SampleColumns>,
    histograms: Lanes<Vec<HistogramRow<'a>>>,
    exemplars: Lanes<Vec<ExemplarRow<'a>>>,
    pub(super) metadata: Vec<MetadataRow<'a>>,
    /// Metric and texts of the last metadata looked at: in 2.0 the next series usually says the same.
    pub(super) metadata_seen: (u32, u32, u32, u32),
    pub(super) report: Report,
}

#[derive(Default)]
pub(super) struct Lanes<T> {
    in_order: T,
    late: T,
}

impl<T> Lanes<T> {
    fn of(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::InOrder => &mut self.in_order,
            Lane::Late => &mut self.late,
        }
    }
}

impl<'w, 'a> Work<'w, 'a> {
    pub(super) fn new(request: Request<'a>, window: &'w Window, labels: &'w mut Labels<'a>, known_from: i32) -> Self {
        let samples = Lanes {
            in_order: SampleColumns::with_capacity(request.decoded.samples.len()),
            late: SampleColumns::default(),
        };
        Self {
            request,
            window,
            labels,
            known_from,
            series_bytes_left: SERIES_BYTES_MAX,
            metrics: Vec::new(),
            series: Lanes::default(),
            samples,
            histograms: Lanes::default(),
            exemplars: Lanes::default(),
            metadata: Vec::new(),
            metadata_seen: (NONE, 0, 0, 0),
            report: Report::default(),
        }
    }

    /// Counts a series of which nothing is kept: dropped by a rule, or left to another replica.
    #[cold]
    pub(super) fn set_aside(&mut self, series: &Series, slot: u32) {
        let parts = if slot == DROPPED { &mut self.report.dropped } else { &mut self.report.replicated };
        parts.add(series);
    }

    #[cold]
    pub(super) fn reject_series(&mut self, series: &Series, reject: Reject, bounds: &Bounds) {
        let parts = series.samples.len() + series.histograms.len() + series.exemplars.len();
        let is_first = self.report.rejects.first().is_none();
        self.reject(series, reject, u64::try_from(parts.max(1)).unwrap_or(u64::MAX));
        let limit = match reject.reason {
            Reason::SeriesLimit => format!("series_max={}", bounds.series_max),
            Reason::MetricLimit => format!("series_per_metric_max={}", bounds.series_per_metric_max),
            _ => return,
        };
        // The first that was refused for a limit is the first that was refused.
        if is_first && let Some((metric, _)) = self.report.refused.metrics.first() {
            self.report.rejects.add_facts(&format!("metric={} {limit}", quoted(metric)));
        }
    }

    #[cold]
    fn reject(&mut self, series: &Series, reject: Reject, count: u64) {
        let Request { body, decoded } = self.request;
        self.report.rejects.add(reject, count, || decoded.describe(body, series.labels));
    }

    #[inline]
    pub(super) fn admit_samples(&mut self, at: usize, slot: &mut Slot, metric: i32) {
        let decoded: &'a Decoded = self.request.decoded;
        let series = &decoded.series[at];
        for sample in &decoded.samples[series.samples.range()] {
            if let Some(reject) = self.window.outside(sample.ts_ms) {
                self.reject(series, reject, 1);
                continue;
            }
            let day = self.window.day_of(sample.ts_ms);
            if !slot.has_day(day) && !self.register(at, slot, metric, (day, sample.ts_ms)) {
                self.reject(series, TOO_MANY_DAYS, 1);
                continue;
            }
            self.report.samples_written += 1;
            match lane(slot, sample.ts_ms, sample.bits, Last::Sample) {
                Some(Lane::InOrder) => self.samples.in_order.push(metric, slot.series_id, sample),
                Some(Lane::Late) => {
                    self.report.late += 1;
                    self.samples.late.push(metric, slot.series_id, sample);
                }
                None => self.report.duplicates += 1,
            }
        }
    }

    pub(super) fn admit_histograms(&mut self, at: usize, slot: &mut Slot, metric: i32) {
        let decoded: &'a Decoded = self.request.decoded;
        let series = &decoded.series[at];
        for histogram in &decoded.histograms[series.histograms.range()] {
            if let Some(reject) = histogram.fault.or_else(|| self.window.outside(histogram.ts_ms)) {
                self.reject(series, reject, 1);
                continue;
            }
            let day = self.window.day_of(histogram.ts_ms);
            if !slot.has_day(day) && !self.register(at, slot, metric, (day, histogram.ts_ms)) {
                self.reject(series, TOO_MANY_DAYS, 1);
                continue;
            }
            self.report.histograms_written += 1;
            let Some(lane) = lane(slot, histogram.ts_ms, histogram.bits, Last::Histogram) else {
                self.report.duplicates += 1;
                continue;
            };
            self.report.late += u64::from(lane == Lane::Late);
            self.histograms.of(lane).push(HistogramRow { metric, series_id: slot.series_id, histogram });
        }
    }

    pub(super) fn admit_exemplars(
        &mut self,
        at: usize,
        (slot_at, slot): (u32, &mut Slot),
        metric: i32,
        index: &mut ExemplarIndex,
    ) {
        let decoded: &'a Decoded = self.request.decoded;
        let series = &decoded.series[at];
        for n in series.exemplars.range() {
            let exemplar = decoded.exemplars[n];
            let labels = match (&self.labels.exemplars[n], self.window.outside(exemplar.ts_ms)) {
                (Ok(labels), None) => labels.clone(),
                (Ok(_), Some(reject)) => {
                    self.reject(series, reject, 1);
                    continue;
                }
                (Err(Reject { text, .. }), _) => {
                    let reject = Reject::new(Reason::Exemplar, text);
                    self.reject(series, reject, 1);
                    continue;
                }
            };
            let day = self.window.day_of(exemplar.ts_ms);
            if !slot.has_day(day) && !self.register(at, slot, metric, (day, exemplar.ts_ms)) {
                self.reject(series, TOO_MANY_DAYS, 1);
                continue;
            }
            self.report.exemplars_written += 1;
            let hash = exemplar::hash(&labels, exemplar.value);
            let Some(lane) = index.lane(slot_at, exemplar.ts_ms, hash) else {
                self.report.duplicates += 1;
                continue;
            };
            self.report.late += u64::from(lane == Lane::Late);
            let (series_id, ts_ms, value) = (slot.series_id, exemplar.ts_ms, exemplar.value);
            self.exemplars.of(lane).push(ExemplarRow { metric, series_id, ts_ms, hash, value, labels });
        }
    }

    /// Writes the series' row of a day; false if there is no room for it.
    #[cold]
    fn register(&mut self, at: usize, slot: &mut Slot, metric: i32, (day, first_ms): (i32, i64)) -> bool {
        // A series that has a slot was read before, so its labels can be read again.
        let Ok(Some(labels)) = self.labels.of(at) else { return false };
        let Some(left) = self.series_bytes_left.checked_sub(label_bytes(&labels.pairs)) else { return false };
        self.series_bytes_left = left;
        let labels = labels.pairs.clone();
        slot.add_day(day);
        let lane = if day >= self.known_from { Lane::InOrder } else { Lane::Late };
        self.series.of(lane).push(SeriesRow { day, metric, series_id: slot.series_id, labels, first_ms });
        true
    }

    /// Writes tomorrow's row of a series that is alive, so that midnight is no burst.
    #[cold]
    pub(super) fn register_next_day(&mut self, at: usize, slot: &mut Slot, metric: i32) {
        let tomorrow = self.window.today + 1;
        if slot.has_day(tomorrow) {
            return;
        }
        let decoded = self.request.decoded;
        let series = &decoded.series[at];
        let samples = decoded.samples[series.samples.range()].iter().map(|s| s.ts_ms);
        let histograms = decoded.histograms[series.histograms.range()].iter().map(|h| h.ts_ms);
        if let Some(ts_ms) = samples.chain(histograms).find(|ts_ms| self.window.outside(*ts_ms).is_none()) {
            // Without room it is registered with another sample.
            self.register(at, slot, metric, (tomorrow, ts_ms));
        }
    }

    /// Rows as batches: series first, since samples refer to them.
    pub(super) fn finish(mut self) -> Result<Admitted> {
        let metrics = columns::metric_names(&self.metrics);
        let buckets = &self.request.decoded.buckets;
        let mut batches = Vec::with_capacity(4);
        let Lanes { in_order, late } = self.series;
        for (rows, lane) in [(in_order, Lane::InOrder), (late, Lane::Late)] {
            if !rows.is_empty() {
                batches.push(Batch::append(schemas::series(), columns::series(&rows, &metrics)?, lane));
            }
        }
        if !self.metadata.is_empty() {
            self.report.metadata_written = u64::try_from(self.metadata.len()).unwrap_or(u64::MAX);
            batches.push(Batch::append(schemas::metadata(), columns::metadata(&self.metadata)?, Lane::InOrder));
        }
        let Lanes { in_order, late } = self.samples;
        for (rows, lane) in [(in_order, Lane::InOrder), (late, Lane::Late)] {
            if rows.len() > 0 {
                batches.push(Batch::append(schemas::samples(), rows.finish(&metrics)?, lane));
            }
        }
        let Lanes { in_order, late } = self.histograms;
        for (rows, lane) in [(in_order, Lane::InOrder), (late, Lane::Late)] {
            if !rows.is_empty() {
                batches.push(Batch::append(
                    schemas::histograms(),
                    columns::histograms(&rows, buckets, &metrics)?,
                    lane,
                ));
            }
        }
        let Lanes { in_order, late } = self.exemplars;
        for (rows, lane) in [(in_order, Lane::InOrder), (late, Lane::Late)] {
            if !rows.is_empty() {
                batches.push(Batch::append(schemas::exemplars(), columns::exemplars(&rows, &metrics)?, lane));
            }
        }
        Ok(Admitted { batches, report: self.report })
    }
}

/// Lane of what a series says next; `None` if it was said already.
#[inline]
fn lane(slot: &mut Slot, ts_ms: i64, bits: u64, kind: Last) -> Option<Lane> {
    if ts_ms > slot.last_ms {
        (slot.last_ms, slot.last_bits, slot.last) = (ts_ms, bits, kind);
        return Some(Lane::InOrder);
    }
    if ts_ms == slot.last_ms {
        if slot.last_bits == bits && slot.last == kind {
            return None;
        }
        // The latest written wins, so this is what a repetition has to equal from now on.
        (slot.last_bits, slot.last) = (bits, kind);
    }
    Some(Lane::Late)
}
