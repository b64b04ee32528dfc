//! Decides, in the order of the log, what of a request is written and in which lane, and builds its rows.
//!
//! Called with a decoded request by [`RemoteWrite`](super::RemoteWrite), which holds one lock from [`Admission::locate`]
//! to `storage.append`, so that the order of admission is the order of the log. Knows no HTTP and no storage: batches come
//! out, and the benchmark feeds it alone.
//!
//! Invariants: a row of the in-order lane is newer than every row of its series before it; a sample sent again is stored
//! once; every row's series has a row in `series` of its day, in the same batch list or an earlier one; labels are read
//! only for series that are not known or need such a row, outside the lock as far as that was seen beforehand; they are
//! read as relabelling leaves them, so that nothing behind this knows that there are rules.
//!
//! A new series beyond a limit is refused with 400 and never with 429, whichever limit it is. The limits hold for hours:
//! until series are forgotten at midnight, or somebody acts. A sender that obeys 429 (vmagent, Alloy, Prometheus if told
//! so) would send the same request again and again until then, while the series that are within the limits, in the same
//! request and in all behind it, wait and in the end are lost; one that does not obey it drops the request as with 400.

mod work;

use std::sync::Arc;

use storage::Batch;
use xxhash_rust::xxh3::xxh3_128;

use self::work::Work;
use super::{
    columns::MetadataRow,
    decoded::{Decoded, Metadata, Series, Text},
    exemplar::ExemplarIndex,
    labels::{self, LabelLimits, SeriesLabels},
    metadata::{self, MetadataIndex},
    reject::{Reason, Reject},
    report::Report,
    rules::Rules,
    series_index::{Bounds, DROPPED, NONE, Origin, REPLICA, SeriesIndex},
    window::Window,
};
use crate::{Error, ErrorKind, Result};

/// A help text longer than this is no help.
const HELP_BYTES_MAX: usize = 16 * 1024;
/// Bytes of labels read of one request. References of 2.0 cost a byte each and can all name one long symbol, so the size of
/// the body bounds nothing here.
const LABEL_BYTES_MAX: usize = 128 << 20;

/// Limits of admission.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Limits of a label set.
    pub labels: LabelLimits,
    /// Series known at once.
    pub series_max: usize,
    /// Series of one metric known at once.
    pub series_per_metric_max: usize,
    /// Age beyond which a sample is refused, milliseconds.
    pub retention_ms: i64,
    /// How far ahead of the clock a sample may be, milliseconds.
    pub future_ms_max: i64,
}

/// A decoded request and the body it points into.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The decompressed body.
    pub body: &'a [u8],
    /// What was read from it.
    pub decoded: &'a Decoded,
}

/// Where the series of a request are known. Keep one and use it again.
#[derive(Debug, Default)]
pub struct Located {
    slots: Vec<u32>,
    unread: Vec<usize>,
    /// Series, by their place in the request, that are left to another replica.
    left: Vec<usize>,
    origin: Origin,
    mixed: bool,
}

impl Located {
    /// Begins with a request whose first series has this origin.
    pub(crate) fn begin(&mut self, origin: Origin) {
        self.left.clear();
        (self.origin, self.mixed) = (origin, false);
    }

    /// Leaves out these series, which stand in order.
    pub(crate) fn leave_out(&mut self, left: Vec<usize>) {
        self.unread.retain(|at| left.binary_search(at).is_err());
        self.left = left;
    }

    /// Is a series known, from another origin than the first?
    pub(crate) fn is_mixed(&self) -> bool {
        self.mixed
    }

    /// Do labels have to be read before the request can be admitted?
    #[must_use]
    pub fn wants_labels(&self) -> bool {
        !self.unread.is_empty()
    }
}

/// Labels of a request, as far as they were read.
#[derive(Debug)]
pub struct Labels<'a> {
    request: Request<'a>,
    limits: LabelLimits,
    rules: Arc<Rules>,
    /// Read or not yet, faulty or not, dropped or not.
    series: Vec<Option<Result<Option<SeriesLabels<'a>>, Reject>>>,
    exemplars: Vec<Result<Vec<(&'a str, &'a str)>, Reject>>,
    /// Bytes of labels that may still be read.
    bytes_left: usize,
}

/// Memory of a label set.
fn label_bytes<T: AsRef<str>>(pairs: &[(T, T)]) -> usize {
    let text = pairs.iter().map(|(name, value)| name.as_ref().len() + value.as_ref().len());
    size_of_val(pairs) + text.sum::<usize>()
}

impl<'a> Labels<'a> {
    /// Reads the labels of the request's exemplars, which are always needed.
    #[must_use]
    pub fn new(request: Request<'a>, limits: &Limits, rules: &Arc<Rules>) -> Self {
        let limits = limits.labels;
        let count = request.decoded.exemplars.len();
        let mut labels = Self {
            request,
            limits,
            rules: Arc::clone(rules),
            series: Vec::new(),
            exemplars: Vec::with_capacity(count),
            bytes_left: LABEL_BYTES_MAX,
        };
        for exemplar in &request.decoded.exemplars {
            let read = labels.charge(
                |decoded, body| labels::sorted(decoded, body, exemplar.labels, &limits),
                |pairs| label_bytes(pairs),
            );
            labels.exemplars.push(read);
        }
        labels
    }

    /// Reads a label set, unless the request has had its share.
    fn charge<T>(
        &mut self,
        read: impl FnOnce(&'a Decoded, &'a [u8]) -> Result<T, Reject>,
        bytes: impl FnOnce(&T) -> usize,
    ) -> Result<T, Reject> {
        if self.bytes_left == 0 {
            let text = "request has more bytes of new labels than may be read at once; send smaller requests";
            return Err(Reject::new(Reason::LabelLimit, text));
        }
        let read = read(self.request.decoded, self.request.body)?;
        self.bytes_left = self.bytes_left.saturating_sub(bytes(&read));
        Ok(read)
    }

    /// Reads those of series that [`Admission::locate`] found to be needed.
    pub fn read(&mut self, located: &Located) {
        for at in &located.unread {
            let _ = self.of(*at);
        }
    }

    /// Labels of a series; `None` if relabelling drops it.
    fn of(&mut self, at: usize) -> Result<Option<&SeriesLabels<'a>>, Reject> {
        if self.series.is_empty() {
            self.series.resize_with(self.request.decoded.series.len(), || None);
        }
        if self.series[at].is_none() {
            let (limits, labels) = (self.limits, self.request.decoded.series[at].labels);
            let rules = Arc::clone(&self.rules);
            let read = self.charge(
                |decoded, body| labels::of_series(decoded, body, labels, &limits, &rules),
                |labels| labels.as_ref().map_or(0, |labels| label_bytes(&labels.pairs)),
            );
            self.series[at] = Some(read);
        }
        match &self.series[at] {
            Some(Ok(labels)) => Ok(labels.as_ref()),
            Some(Err(reject)) => Err(*reject),
            None => Err(Reject::new(Reason::Labels, "labels were not read")),
        }
    }

    /// Origin of a series.
    fn origin(&self, at: usize) -> Origin {
        let labels = self.request.decoded.series[at].labels;
        self.rules.ha.as_ref().map_or(0, |ha| ha.origin(self.request, labels))
    }
}

/// A request admitted: what to append, and what to tell.
#[derive(Debug)]
pub struct Admitted {
    /// Rows to append as one record; none if all was there already.
    pub batches: Vec<Batch>,
    /// What came of it.
    pub report: Report,
}

/// The state of admission.
pub struct Admission {
    limits: Limits,
    rules: Arc<Rules>,
    pub(crate) index: SeriesIndex,
    pub(crate) exemplars: ExemplarIndex,
    pub(crate) metadata: MetadataIndex,
    request: u64,
    swept: i32,
    /// A request left its mark on the state but gave no batches: what it claimed to be written is not.
    broken: bool,
    /// Generation of storage whose views it was made of.
    pub(crate) generation: u64,
}

impl Admission {
    /// Admission that knows no series; those first seen before the day of `window` are not known to be new.
    #[must_use]
    pub fn new(limits: Limits, window: &Window) -> Self {
        let Limits { series_max, series_per_metric_max, .. } = limits;
        Self {
            limits,
            rules: Arc::default(),
            index: SeriesIndex::new(Bounds { series_max, series_per_metric_max }, window.today - 1),
            exemplars: ExemplarIndex::new(),
            metadata: MetadataIndex::default(),
            request: 0,
            swept: window.today,
            broken: false,
            generation: 0,
        }
    }

    /// The same under rules.
    #[must_use]
    pub fn with_rules(self, rules: Arc<Rules>) -> Self {
        Self { rules, ..self }
    }

    /// Number of series known.
    #[must_use]
    pub fn series(&self) -> usize {
        self.index.len()
    }

    /// Makes room for so many series at once.
    pub fn reserve(&mut self, series: usize) {
        self.index.reserve(series);
    }

    /// Finds the request's series. All lookups come before any of the results is used, so that their cache misses overlap.
    pub fn locate(&mut self, request: Request<'_>, window: &Window, located: &mut Located) {
        self.sweep(window);
        let Decoded { series, samples, histograms, exemplars, .. } = request.decoded;
        let forms = series.iter().map(|series| series.hash);
        located.mixed = self.index.find_all(forms, located.origin, &mut located.slots);
        for at in &located.left {
            located.slots[*at] = REPLICA;
        }
        let index = &self.index;
        located.unread.clear();
        for (at, (series, slot)) in series.iter().zip(&located.slots).enumerate() {
            let Some(slot) = index.slots.get(*slot as usize) else {
                if series.fault.is_none() && *slot == NONE {
                    located.unread.push(at);
                }
                continue;
            };
            let lacks = |ts_ms| !slot.has_day(window.day_of(ts_ms)) && window.outside(ts_ms).is_none();
            let wants_row = samples[series.samples.range()].iter().any(|s| lacks(s.ts_ms))
                || histograms[series.histograms.range()].iter().any(|h| lacks(h.ts_ms))
                || exemplars[series.exemplars.range()].iter().any(|e| lacks(e.ts_ms))
                || window.next_day_due(slot.series_id) && !slot.has_day(window.today + 1);
            if wants_row {
                located.unread.push(at);
            }
        }
    }

    /// Forgets, once a day, the series that were not seen since the day before yesterday.
    fn sweep(&mut self, window: &Window) {
        if window.today > self.swept {
            self.swept = window.today;
            let exemplars = &mut self.exemplars;
            self.index.forget_before(window.today - 1, |slot| exemplars.forget(slot));
        }
    }

    /// Admits a request that was located under the same lock.
    ///
    /// # Errors
    /// If its rows cannot be built, a defect of ours; nothing is admitted any more after that.
    pub fn admit<'a>(
        &mut self,
        request: Request<'a>,
        located: &Located,
        labels: &mut Labels<'a>,
        window: &Window,
    ) -> Result<Admitted> {
        if std::mem::replace(&mut self.broken, true) {
            let message = "an earlier request failed half-way, what it sent may be lost; restart to go on from the log";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        self.request += 1;
        let mut work = Work::new(request, window, labels, self.index.known_from);
        for (at, series) in request.decoded.series.iter().enumerate() {
            let slot = located.slots.get(at).copied().unwrap_or(NONE);
            if let Err(reject) = self.admit_series(at, series, slot, &mut work) {
                work.reject_series(series, reject, &self.index.bounds);
            }
        }
        for metadata in request.decoded.metadata.iter().filter(|metadata| metadata.family.is_some()) {
            if let Err(reject) = self.admit_family(metadata, &mut work) {
                work.report.rejects.add(reject, 1, || describe_family(request, metadata));
            }
        }
        let admitted = work.finish()?;
        self.broken = false;
        Ok(admitted)
    }

    /// Locates and admits in one go.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn take(&mut self, request: Request<'_>, window: &Window, located: &mut Located) -> Result<Admitted> {
        self.locate(request, window, located);
        let mut labels = Labels::new(request, &self.limits, &self.rules);
        self.admit(request, located, &mut labels, window)
    }

    #[inline]
    fn admit_series<'a>(
        &mut self,
        at: usize,
        series: &Series,
        slot: u32,
        work: &mut Work<'_, 'a>,
    ) -> Result<(), Reject> {
        if let Some(fault) = series.fault {
            return Err(fault);
        }
        let slot_at = if slot == NONE { self.enter(at, series, work)? } else { slot };
        if slot_at >= REPLICA {
            work.set_aside(series, slot_at);
            return Ok(());
        }
        let metric_at = self.index.slots[slot_at as usize].metric;
        let metric = self.index.key_in_request(metric_at, self.request, &mut work.metrics);
        let slot = &mut self.index.slots[slot_at as usize];
        if !series.samples.is_empty() {
            work.admit_samples(at, slot, metric);
        }
        if !series.histograms.is_empty() {
            work.admit_histograms(at, slot, metric);
        }
        if !series.exemplars.is_empty() {
            work.admit_exemplars(at, (slot_at, slot), metric, &mut self.exemplars);
        }
        if work.window.next_day_due(slot.series_id) {
            work.register_next_day(at, slot, metric);
        }
        if let Some(metadata) = work.request.decoded.metadata.get(series.metadata as usize) {
            self.admit_metadata(metadata, metric_at, work);
        }
        Ok(())
    }

    /// Slot of a series that is not known, or [`DROPPED`].
    #[cold]
    fn enter(&mut self, at: usize, series: &Series, work: &mut Work<'_, '_>) -> Result<u32, Reject> {
        let slot = match work.labels.of(at)? {
            None => DROPPED,
            Some(labels) => self.index.enter(&labels.metric, labels.identity).inspect_err(|reject| {
                work.report.refused.add(&labels.metric, reject.reason);
            })?,
        };
        self.index.learn(series.hash, slot, work.labels.origin(at));
        Ok(slot)
    }

    /// Metadata that came with a series.
    fn admit_metadata(&mut self, metadata: &Metadata, metric: u32, work: &mut Work<'_, '_>) {
        let (Text::Symbol(help), Text::Symbol(unit)) = (metadata.help, metadata.unit) else { return };
        let seen = (metric, metadata.kind, help, unit);
        if work.metadata_seen == seen {
            return;
        }
        work.metadata_seen = seen;
        let metric = self.index.metric(metric).clone();
        if let Err(reject) = self.admit_texts(metadata, metric.name, metric.hash, work) {
            work.report.rejects.add(reject, 1, || describe_family(work.request, metadata));
        }
    }

    /// Metadata on its own, as version 1 sends it.
    fn admit_family(&mut self, metadata: &Metadata, work: &mut Work<'_, '_>) -> Result<(), Reject> {
        let Request { body, .. } = work.request;
        let name = metadata.family.and_then(|family| body.get(family.range())).unwrap_or_default();
        let limits = &self.limits.labels;
        let name = str::from_utf8(name).ok().filter(|name| !name.is_empty() && name.len() <= limits.value_bytes_max);
        let name = name.ok_or(Reject::new(Reason::Metadata, "metadata has no usable metric name"))?;
        self.admit_texts(metadata, name.into(), xxh3_128(name.as_bytes()), work)
    }

    fn admit_texts(
        &mut self,
        metadata: &Metadata,
        name: Arc<str>,
        name_hash: u128,
        work: &mut Work<'_, '_>,
    ) -> Result<(), Reject> {
        let Request { body, decoded } = work.request;
        let hash = |text| match text {
            Text::Symbol(symbol) => {
                decoded.symbols.get(symbol as usize).map_or_else(|| xxh3_128(&[]), |symbol| symbol.hash)
            }
            Text::Body(span) => xxh3_128(&body[span.range()]),
        };
        let kind = metadata::kind(metadata.kind);
        let text = |text| {
            let bytes = decoded.text(body, text).unwrap_or_default();
            let fits = str::from_utf8(bytes).ok().filter(|text| text.len() <= HELP_BYTES_MAX);
            fits.ok_or(Reject::new(Reason::Metadata, "metadata is too long or not UTF-8"))
        };
        let (help, unit) = (text(metadata.help)?, text(metadata.unit)?);
        let digest = metadata::digest(kind, hash(metadata.help), hash(metadata.unit));
        let seen_us = work.window.now_ms * 1000;
        if self.metadata.changed(name_hash, digest, seen_us) {
            let kind = metadata::KINDS[kind as usize];
            work.metadata.push(MetadataRow { metric: name, kind, unit, help, seen_us });
        }
        Ok(())
    }
}

fn describe_family(request: Request<'_>, metadata: &Metadata) -> String {
    let name = metadata.family.and_then(|family| request.body.get(family.range())).unwrap_or_default();
    format!("metadata of {}", String::from_utf8_lossy(name))
}
