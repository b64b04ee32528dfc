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

/// The series known to this process.
pub(crate) struct SeriesIndex {
    raw: HashTable<Raw>,
    by_id: HashTable<u32>,
    pub(crate) slots: Vec<Slot>,
    canonical: Vec<u128>,
    free: Vec<u32>,
    metrics: Vec<Metric>,
    metrics_free: Vec<u32>,
    metrics_by_name: HashTable<u32>,
    series_max: usize,
    /// First day of which every series is known.
    pub(crate) known_from: i32,
    /// Slots as they stood in requests, one order after the other.
    order: Vec<u32>,
}

fn words(hash: u128) -> [u64; 2] {
    let bytes = hash.to_le_bytes();
    let (low, high) = bytes.split_at(8);
    [low, high].map(|word| word.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word)))
}

impl SeriesIndex {
    pub(crate) fn new(series_max: usize, known_from: i32) -> Self {
        Self {
            raw: HashTable::new(),
            by_id: HashTable::new(),
            slots: Vec::new(),
            canonical: Vec::new(),
            free: Vec::new(),
            metrics: Vec::new(),
            metrics_free: Vec::new(),
            metrics_by_name: HashTable::new(),
            series_max: series_max.min(NONE as usize),
            known_from,
            order: Vec::new(),
        }
    }

    /// Number of known series.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Slot of the series with these raw label bytes, or [`NONE`].
    #[inline]
    pub(crate) fn find_raw(&self, hash: u128) -> u32 {
        let hash = words(hash);
        self.raw.find(hash[0], |entry| entry.hash == hash).map_or(NONE, |entry| entry.slot)
    }

    /// Slots of the series with these raw forms, each or [`NONE`], in place of what was in `found`.
    ///
    /// A series that stands where it is expected is known by 64 bits of its form; any other by all 128, from the table, at the
    /// price of two more cache misses.
    pub(crate) fn find_all(&mut self, forms: impl Iterator<Item = u128>, found: &mut Vec<u32>) {
        found.clear();
        let (mut expected, mut strays) = (usize::MAX, 0);
        found.extend(forms.map(|form| {
            let next = self.order.get(expected).copied().unwrap_or(NONE);
            let low = words(form)[0];
            if self.slots.get(next as usize).is_some_and(|slot| slot.form == low) {
                expected += 1;
                return next;
            }
            strays += 1;
            let at = self.find_raw(form);
            if let Some(slot) = self.slots.get_mut(at as usize) {
                slot.form = low;
                expected = slot.order as usize + 1;
            }
            at
        }));
        if strays > found.len() / STRAYS {
            self.learn_order(found);
        }
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
        let full = Reject::new(Reason::SeriesLimit, "too many series are known; no new one is taken today");
        let room = self.len() < self.series_max;
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

    /// Remembers the raw form of a series.
    pub(crate) fn learn(&mut self, hash: u128, slot: u32) {
        if self.raw.len() >= RAW_FORMS * (self.len() + 1024) {
            self.raw.clear();
        }
        let hash = words(hash);
        if self.raw.find(hash[0], |entry| entry.hash == hash).is_none() {
            self.raw.insert_unique(hash[0], Raw { hash, slot }, |entry| entry.hash[0]);
        }
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

    /// Forgets every series last seen before day `from`, and hands its slot number to `gone`.
    pub(crate) fn forget_before(&mut self, from: i32, mut gone: impl FnMut(u32)) {
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
