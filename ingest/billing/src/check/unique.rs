//! Remembers which value of one column came with each of another, for rules about the whole file.
//!
//! Called by the checker for each row. Both are kept as 64 bits of a hash: among the keys there may be, that two of them meet is less
//! likely than a wrong bit in memory, and what would follow is one finding too many or too few.
//!
//! Invariants: memory is bounded; keys that came too late are not judged, which is told.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, hash_map::Entry};

/// Values that are remembered for one rule: price lists have some ten thousand; 100,000 take 3 MiB.
pub const KEYS_MAX: usize = 100_000;

/// What came with what.
#[derive(Debug)]
pub(super) struct Unique {
    hasher: DefaultHashBuilder,
    seen: HashMap<u64, u64>,
    keys_max: usize,
    is_full: bool,
}

impl Unique {
    pub(super) fn new(keys_max: usize) -> Self {
        Self { hasher: DefaultHashBuilder::default(), seen: HashMap::new(), keys_max, is_full: false }
    }

    /// Is it the value that came with this key before, if one did?
    pub(super) fn is_same(&mut self, key: &str, value: &str) -> bool {
        let (key, value) = (self.hasher.hash_one(key), self.hasher.hash_one(value));
        let is_room = self.seen.len() < self.keys_max;
        match self.seen.entry(key) {
            Entry::Occupied(known) => *known.get() == value,
            Entry::Vacant(place) if is_room => {
                place.insert(value);
                true
            }
            Entry::Vacant(_) => {
                self.is_full = true;
                true
            }
        }
    }

    /// Were there keys that there was no room for?
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_key_is_the_one_and_keys_are_bounded() {
        let mut unique = Unique::new(2);
        assert!(unique.is_same("a", "1") && unique.is_same("b", "1") && !unique.is_full());
        assert!(!unique.is_same("a", "2") && unique.is_same("a", "1") && !unique.is_full());
        assert!(unique.is_same("c", "1") && unique.is_same("c", "2") && unique.is_full());
        assert!(!unique.is_same("b", "2"));
    }
}
