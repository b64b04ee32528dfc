//! Remembers the last exemplar of each series, so that one sent again, as senders do until it changes, is stored once.
//!
//! Owned by [`Admission`](super::Admission). Few series have exemplars, so this is a map beside the slots and not a part
//! of them.

use hashbrown::HashMap;
use storage::Lane;
use xxhash_rust::xxh3::xxh3_64;

/// The last exemplar of each series that had one.
#[derive(Debug)]
pub(crate) struct ExemplarIndex {
    last: HashMap<u32, Last>,
    /// No exemplar of a series not in `last` is newer than this, milliseconds.
    floor_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    ts_ms: i64,
    /// Its hash; `None` if all that is known is that nothing newer was written.
    hash: Option<i64>,
}

/// Identity of an exemplar among those of its series and moment: column `hash`.
pub(crate) fn hash(labels: &[(&str, &str)], value: f64) -> i64 {
    let mut bytes = Vec::with_capacity(96);
    bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    for (name, value) in labels {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0xff);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0xfe);
    }
    xxh3_64(&bytes).cast_signed()
}

impl ExemplarIndex {
    pub(crate) fn new() -> Self {
        Self { last: HashMap::new(), floor_ms: i64::MIN }
    }

    /// No series had an exemplar after this before the process began.
    pub(crate) fn raise_floor(&mut self, ts_ms: i64) {
        self.floor_ms = self.floor_ms.max(ts_ms);
    }

    /// Which lane an exemplar takes; `None` if it is the one sent before.
    pub(crate) fn lane(&mut self, slot: u32, ts_ms: i64, hash: i64) -> Option<Lane> {
        let Some(last) = self.last.get_mut(&slot) else {
            let (last, lane) = if ts_ms > self.floor_ms {
                (Last { ts_ms, hash: Some(hash) }, Lane::InOrder)
            } else {
                (Last { ts_ms: self.floor_ms, hash: None }, Lane::Late)
            };
            self.last.insert(slot, last);
            return Some(lane);
        };
        if ts_ms == last.ts_ms && last.hash == Some(hash) {
            return None;
        }
        if ts_ms > last.ts_ms {
            *last = Last { ts_ms, hash: Some(hash) };
            return Some(Lane::InOrder);
        }
        if ts_ms == last.ts_ms && last.hash.is_none() {
            last.hash = Some(hash);
        }
        Some(Lane::Late)
    }

    /// The last exemplar of a series is gone, if its time is among these; nothing that is sent repeats it.
    pub(crate) fn forget_last(&mut self, slot: u32, is_gone: impl Fn(i64) -> bool) {
        if let Some(last) = self.last.get_mut(&slot).filter(|last| is_gone(last.ts_ms)) {
            last.hash = None;
        }
    }

    /// The series lost its slot.
    pub(crate) fn forget(&mut self, slot: u32) {
        if let Some(last) = self.last.remove(&slot) {
            self.raise_floor(last.ts_ms);
        }
    }
}
