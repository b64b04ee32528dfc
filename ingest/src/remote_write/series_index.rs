//! The series known to this process: by the hash of their raw label bytes, by identity, and what admission has to
//! remember of each.
//!
//! Owned by [`Admission`](super::Admission). A slot is one cache line of what a sample needs; the tables hold hashes and
//! slot numbers, never labels, which come again with every request. About 170 bytes a series with both tables.
//!
//! Invariants: every series with a row in `series` of day `known_from` or later has a slot, so for those days a series
//! without slot is new for certain; two series with one identity never share a slot.

use std::sync::Arc;

use hashbrown::HashTable;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{
    labels::Identity,
    reject::{Reason, Reject},
};

/// Milliseconds of a day.
pub(crate) const DAY_MS: i64 = 86_400_000;
/// A series that is not known.
pub(crate) const NONE: u32 = u32::MAX;
/// A form that relabelling drops. Remembered like the form of a series, so that dropping costs what finding does.
pub(crate) const DROPPED: u32 = u32::MAX - 1;
/// A series that is left to another replica of its HA pair. Only within a request, never in the index. The least of the
/// reserved numbers.
pub(crate) const REPLICA: u32 = u32::MAX - 2;
/// Forms that are dropped, remembered per series that may be known. At 24 bytes against 200 a series, they take a sixteenth
/// more memory; beyond, they are forgotten and learned again.
const DROPPED_SHARE: usize = 2;
/// The least of them, so that a small server that drops nearly everything does not learn all the time.
const DROPPED_MIN: usize = 4096;
/// Raw forms remembered per series on average, beyond which the forms are forgotten and learned again. One from each of
/// two messages is usual; a sender that permutes labels must not cost memory.
const RAW_FORMS: usize = 4;
/// One series in so many may stand elsewhere than expected before the order of its request is learned.
const STRAYS: usize = 8;
/// Places in the order per series on average, beyond which it is forgotten and learned again.
const ORDERS: usize = 2;

/// What was written last of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    /// Something, at most as new as the time beside it.
    Unknown,
    Sample,
    Histogram,
}

/// Fingerprint of the HA pair and replica that a raw form names, 0 if it names none. Known here so that a request of one
/// replica can be told from a mixed one without reading labels.
pub(crate) type Origin = u16;

/// What admission remembers of a series.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Slot {
    /// Bit `n` says that the series has a row for day `day_top - n`.
    days: u128,
    pub(crate) last_ms: i64,
    pub(crate) last_bits: u64,
    pub(crate) series_id: i64,
    /// Low word of the raw form it was last found by.
    form: u64,
    pub(crate) metric: u32,
    day_top: i32,
    /// Where it stands in [`SeriesIndex::order`].
    order: u32,
    /// Of the raw form it was last found by.
    origin: Origin,
    pub(crate) last: Last,
}

impl Slot {
    #[inline]
    pub(crate) fn has_day(&self, day: i32) -> bool {
        day == self.day_top && self.days & 1 == 1 || self.has_other_day(day)
    }

    #[cold]
    fn has_other_day(&self, day: i32) -> bool {
        let back = i64::from(self.day_top) - i64::from(day);
        u32::try_from(back).is_ok_and(|back| back < u128::BITS && self.days >> back & 1 == 1)
    }

    /// What was written last is gone, if its time is among these; nothing that is sent repeats it.
    pub(crate) fn forget_last(&mut self, is_gone: impl Fn(i64) -> bool) {
        if is_gone(self.last_ms) {
            self.last = Last::Unknown;
        }
    }

    /// Remembers the row of a day. Days more than 127 before the latest are not remembered; their rows take the late lane.
    pub(crate) fn add_day(&mut self, day: i32) {
        if self.days == 0 {
            self.day_top = day;
        }
        if day > self.day_top {
            let by = u32::try_from(i64::from(day) - i64::from(self.day_top)).unwrap_or(u32::MAX);
            self.days = self.days.checked_shl(by).unwrap_or(0);
            self.day_top = day;
        }
        let back = u32::try_from(i64::from(self.day_top) - i64::from(day)).unwrap_or(u32::MAX);
        self.days |= 1u128.checked_shl(back).unwrap_or(0);
    }
}

struct Raw {
    // Two words rather than a u128, whose alignment would cost 8 bytes an entry.
    hash: [u64; 2],
    slot: u32,
    origin: Origin,
}

/// A metric with at least one series.
#[derive(Clone, Debug)]
pub(crate) struct Metric {
    pub(crate) name: Arc<str>,
    /// xxh3-128 of the name.
    pub(crate) hash: u128,
    series: u32,
    /// Request in which the metric was last used, and its dictionary key there.
    used: (u64, i32),
}

/// How many series may be known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Together.
    pub(crate) series_max: usize,
    /// Of one metric.
    pub(crate) series_per_metric_max: usize,
}

/// The series known to this process.
pub(crate) struct SeriesIndex {
    raw: HashTable<Raw>,
    /// Entries of `raw` that are dropped.
    dropped: usize,
    by_id: HashTable<u32>,
    pub(crate) slots: Vec<Slot>,
    canonical: Vec<u128>,
    free: Vec<u32>,
    metrics: Vec<Metric>,
    metrics_free: Vec<u32>,
    metrics_by_name: HashTable<u32>,
    pub(crate) bounds: Bounds,
    /// First day of which every series is known.
    pub(crate) known_from: i32,
    /// Slots in the order in which requests named them. Senders repeat themselves, so what stands after the last series is most
    /// likely the next one, and its slot is fetched before the hash that names it is looked at.
    order: Vec<u32>,
}

fn words(hash: u128) -> [u64; 2] {
    let bytes = hash.to_le_bytes();
    let (low, high) = bytes.split_at(8);
    [low, high].map(|word| word.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word)))
}

impl SeriesIndex {
    pub(crate) fn new(bounds: Bounds, known_from: i32) -> Self {
        // Slot numbers are below the reserved ones.
        let bounds = Bounds { series_max: bounds.series_max.min(REPLICA as usize), ..bounds };
        Self {
            raw: HashTable::new(),
            dropped: 0,
            by_id: HashTable::new(),
            slots: Vec::new(),
            canonical: Vec::new(),
            free: Vec::new(),
            metrics: Vec::new(),
            metrics_free: Vec::new(),
            metrics_by_name: HashTable::new(),
            bounds,
            known_from,
            order: Vec::new(),
        }
    }

    /// Number of known series.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Slot of the series with these raw label bytes, or [`NONE`], or [`DROPPED`].
    #[inline]
    pub(crate) fn find_raw(&self, hash: u128) -> (u32, Origin) {
        let hash = words(hash);
        self.raw.find(hash[0], |entry| entry.hash == hash).map_or((NONE, 0), |entry| (entry.slot, entry.origin))
    }

    /// Slots of the series with these raw forms, each or [`NONE`] or [`DROPPED`], in place of what was in `found`. Says
    /// whether a known form is of another origin than this.
    ///
    /// A series that stands where it is expected is known by 64 bits of its form; any other by all 128, from the table, at the
    /// price of two more cache misses.
    pub(crate) fn find_all(&mut self, forms: impl Iterator<Item = u128>, origin: Origin, found: &mut Vec<u32>) -> bool {
        found.clear();
        let (mut expected, mut strays, mut mixed) = (usize::MAX, 0, false);
        found.extend(forms.map(|form| {
            let next = self.order.get(expected).copied().unwrap_or(NONE);
            let low = words(form)[0];
            if let Some(slot) = self.slots.get(next as usize)
                && slot.form == low
            {
                expected += 1;
                mixed |= slot.origin != origin;
                return next;
            }
            let (at, of) = self.find_raw(form);
            mixed |= of != origin && at != NONE;
            // What is dropped has no place in the order, and leaves the place of the next as it is.
            strays += usize::from(at != DROPPED);
            if let Some(slot) = self.slots.get_mut(at as usize) {
                (slot.form, slot.origin) = (low, of);
                expected = slot.order as usize + 1;
            }
            at
        }));
        if strays > found.len() / STRAYS {
            self.learn_order(found);
        }
        mixed
    }

    /// Remembers the order of a request that came in an unknown one. Places handed out before the order was forgotten may lie: they
    /// only make a guess go wrong.
    #[cold]
    fn learn_order(&mut self, found: &[u32]) {
        if self.order.len() > ORDERS * (self.len() + 1024) {
            self.order.clear();
        }
        for at in found {
            if let Some(slot) = self.slots.get_mut(*at as usize) {
                slot.order = u32::try_from(self.order.len()).unwrap_or(NONE);
                self.order.push(*at);
            }
        }
    }

    /// Slot of a series by its columns, or [`NONE`].
    pub(crate) fn find(&self, metric: u32, series_id: i64) -> u32 {
        let same = |slot: &u32| {
            let slot = &self.slots[*slot as usize];
            slot.series_id == series_id && slot.metric == metric
        };
        self.by_id.find(series_id.cast_unsigned(), same).copied().unwrap_or(NONE)
    }

    /// Slot of a series, made if there is none.
    ///
    /// # Errors
    /// If another series has the same columns, or there are too many.
    pub(crate) fn enter(&mut self, metric: &str, identity: Identity) -> Result<u32, Reject> {
        self.enter_within(metric, identity, self.bounds.series_per_metric_max)
    }

    /// The same for a series that is stored already: one of a metric that has too many by a later setting is known still.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(crate) fn enter_stored(&mut self, metric: &str, identity: Identity) -> Result<u32, Reject> {
        self.enter_within(metric, identity, usize::MAX)
    }

    fn enter_within(&mut self, metric: &str, identity: Identity, metric_max: usize) -> Result<u32, Reject> {
        let full = Reject::new(
            Reason::SeriesLimit,
            "no new series is taken, as many as may be are known; raise remote_write.series_max, or send fewer",
        );
        let room = self.len() < self.bounds.series_max;
        // No metric is entered for a series that is not: refused names must not pile up.
        let metric = match self.find_metric(metric) {
            Some(metric) => metric,
            None if room => self.metric_entry(metric),
            None => return Err(full),
        };
        let found = self.find(metric, identity.series_id);
        if found != NONE {
            if self.canonical[found as usize] == identity.canonical {
                return Ok(found);
            }
            return Err(Reject::new(Reason::Collision, "another series of this metric has the same series_id"));
        }
        if !room {
            return Err(full);
        }
        if self.metrics[metric as usize].series as usize >= metric_max {
            return Err(Reject::new(
                Reason::MetricLimit,
                "no new series of this metric is taken, it has as many as it may; raise \
                 remote_write.series_per_metric_max, or drop the label that makes them with remote_write.relabel",
            ));
        }
        self.metrics[metric as usize].series += 1;
        let slot = Slot {
            days: 0,
            last_ms: i64::from(self.known_from) * DAY_MS - 1,
            last_bits: 0,
            series_id: identity.series_id,
            form: 0,
            metric,
            day_top: i32::MIN,
            order: NONE,
            origin: 0,
            last: Last::Unknown,
        };
        let at = self.store(slot, identity.canonical);
        let slots = &self.slots;
        let hash = |slot: &u32| slots[*slot as usize].series_id.cast_unsigned();
        self.by_id.insert_unique(identity.series_id.cast_unsigned(), at, hash);
        Ok(at)
    }

    fn store(&mut self, slot: Slot, canonical: u128) -> u32 {
        if let Some(at) = self.free.pop() {
            self.slots[at as usize] = slot;
            self.canonical[at as usize] = canonical;
            return at;
        }
        self.slots.push(slot);
        self.canonical.push(canonical);
        // Below `series_max`, hence within 32 bits.
        u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
    }

    /// Remembers the raw form of a series, or one that is [`DROPPED`].
    pub(crate) fn learn(&mut self, hash: u128, slot: u32, origin: Origin) {
        if self.raw.len() - self.dropped >= RAW_FORMS * (self.len() + 1024) {
            self.raw.clear();
            self.dropped = 0;
        }
        if self.dropped >= (self.bounds.series_max / DROPPED_SHARE).max(DROPPED_MIN) {
            self.forget_dropped();
        }
        let hash = words(hash);
        if self.raw.find(hash[0], |entry| entry.hash == hash).is_none() {
            self.dropped += usize::from(slot == DROPPED);
            self.raw.insert_unique(hash[0], Raw { hash, slot, origin }, |entry| entry.hash[0]);
        }
    }

    fn forget_dropped(&mut self) {
        self.raw.retain(|entry| entry.slot != DROPPED);
        self.dropped = 0;
    }

    /// Number of raw forms remembered.
    #[cfg(test)]
    pub(crate) fn forms(&self) -> usize {
        self.raw.len()
    }

    /// Number of metrics that have series.
    #[cfg(test)]
    pub(crate) fn metrics(&self) -> usize {
        self.metrics_by_name.len()
    }

    pub(crate) fn metric(&self, metric: u32) -> &Metric {
        &self.metrics[metric as usize]
    }

    /// Number of a metric that has series.
    pub(crate) fn find_metric(&self, name: &str) -> Option<u32> {
        self.metrics_by_name.find(xxh3_64(name.as_bytes()), |m| *self.metrics[*m as usize].name == *name).copied()
    }

    fn metric_entry(&mut self, name: &str) -> u32 {
        let metric = Metric { name: name.into(), hash: xxh3_128(name.as_bytes()), series: 0, used: (0, 0) };
        let at = match self.metrics_free.pop() {
            Some(at) => {
                self.metrics[at as usize] = metric;
                at
            }
            None => {
                self.metrics.push(metric);
                u32::try_from(self.metrics.len() - 1).unwrap_or(NONE)
            }
        };
        let metrics = &self.metrics;
        let hash = |m: &u32| xxh3_64(metrics[*m as usize].name.as_bytes());
        self.metrics_by_name.insert_unique(xxh3_64(name.as_bytes()), at, hash);
        at
    }

    /// Dictionary key of a metric in a request, which lists the metrics it uses.
    #[inline]
    pub(crate) fn key_in_request(&mut self, metric: u32, request: u64, used: &mut Vec<Arc<str>>) -> i32 {
        let entry = &mut self.metrics[metric as usize];
        if entry.used.0 != request {
            entry.used = (request, i32::try_from(used.len()).unwrap_or(i32::MAX));
            used.push(Arc::clone(&entry.name));
        }
        entry.used.1
    }

    /// Forgets every series last seen before day `from`, and hands its slot number to `gone`; forgets what is dropped too,
    /// since nothing tells which of it is still sent.
    pub(crate) fn forget_before(&mut self, from: i32, mut gone: impl FnMut(u32)) {
        self.forget_dropped();
        let (slots, metrics, free) = (&self.slots, &mut self.metrics, &mut self.free);
        let stale = |slot: u32| slots[slot as usize].day_top < from;
        self.raw.retain(|entry| !stale(entry.slot));
        self.by_id.retain(|slot| {
            let keep = !stale(*slot);
            if !keep {
                metrics[slots[*slot as usize].metric as usize].series -= 1;
                free.push(*slot);
                gone(*slot);
            }
            keep
        });
        for slot in &self.free {
            // The order still names it.
            self.slots[*slot as usize].form = 0;
        }
        self.metrics_by_name.retain(|metric| {
            let keep = metrics[*metric as usize].series > 0;
            if !keep {
                self.metrics_free.push(*metric);
            }
            keep
        });
        self.known_from = self.known_from.max(from);
    }

    /// Makes room for `series` more series at once.
    pub(crate) fn reserve(&mut self, series: usize) {
        self.slots.reserve(series);
        self.canonical.reserve(series);
        let slots = &self.slots;
        self.by_id.reserve(series, |slot| slots[*slot as usize].series_id.cast_unsigned());
        self.raw.reserve(series, |entry| entry.hash[0]);
    }
}
