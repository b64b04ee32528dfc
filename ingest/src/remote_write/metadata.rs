//! Keeps what is known of each metric family's type, unit and help, so that a row is written only when it changes.
//!
//! Owned by [`Admission`](super::Admission). Senders repeat metadata every minute, in 2.0 with every series.
//! Invariants: holds hashes, not texts; bounded; at most one row per family and [`REST_US`].

use hashbrown::HashMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Families whose last text is remembered; beyond these, metadata is not kept.
const FAMILIES_MAX: usize = 1_000_000;
/// Two senders that disagree about a help text would otherwise write a row with every request.
const REST_US: i64 = 60_000_000;

/// Names of the types, by their number in both messages.
pub(crate) const KINDS: [&str; 8] =
    ["unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset"];

/// What was last written of each family.
#[derive(Debug, Default)]
pub(crate) struct MetadataIndex {
    families: HashMap<u128, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    digest: u64,
    seen_us: i64,
}

/// Digest of what a row would say, from the hashes of its texts.
pub(crate) fn digest(kind: u32, help: u128, unit: u128) -> u64 {
    let mut bytes = [0; 36];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[4..20].copy_from_slice(&help.to_le_bytes());
    bytes[20..].copy_from_slice(&unit.to_le_bytes());
    xxh3_64(&bytes)
}

/// Number of a type; a number unknown here is `unknown`.
pub(crate) fn kind(number: u32) -> u32 {
    if usize::try_from(number).is_ok_and(|number| number < KINDS.len()) { number } else { 0 }
}

impl MetadataIndex {
    /// Is this news of the family called by a name of this hash? If so, it is taken as written at `now_us`.
    pub(crate) fn changed(&mut self, family: u128, digest: u64, now_us: i64) -> bool {
        let room = self.families.len() < FAMILIES_MAX;
        let news = Known { digest, seen_us: now_us };
        match self.families.get_mut(&family) {
            Some(known) if known.digest == digest || now_us.saturating_sub(known.seen_us) < REST_US => false,
            Some(known) => {
                *known = news;
                true
            }
            None if room => self.families.insert(family, news).is_none(),
            None => false,
        }
    }

    /// Takes up a stored row.
    pub(crate) fn restore(&mut self, family: &str, [kind, unit, help]: [&str; 3], seen_us: i64) {
        let number = KINDS.iter().position(|name| *name == kind).and_then(|at| u32::try_from(at).ok()).unwrap_or(0);
        let digest = digest(number, xxh3_128(help.as_bytes()), xxh3_128(unit.as_bytes()));
        let family = xxh3_128(family.as_bytes());
        if self.families.len() >= FAMILIES_MAX && !self.families.contains_key(&family) {
            return;
        }
        let known = self.families.entry(family).or_insert(Known { digest, seen_us });
        if seen_us >= known.seen_us {
            *known = Known { digest, seen_us };
        }
    }
}
