//! The series that carry one pair.
//!
//! Called by the index. Of a million values most are of one series (an address, a pod), and a set of one needs no bitmap.

use roaring::RoaringBitmap;

/// Series in ascending order.
#[derive(Debug, Clone)]
pub(super) enum Posting {
    None,
    One(u32),
    Many(Box<RoaringBitmap>),
}

impl Posting {
    /// Adds a series; numbers grow.
    pub(super) fn push(&mut self, series: u32) {
        match self {
            Self::None => *self = Self::One(series),
            Self::One(only) if *only == series => {}
            Self::One(only) => *self = Self::Many(Box::new([*only, series].into_iter().collect())),
            Self::Many(all) => drop(all.insert(series)),
        }
    }

    pub(super) fn len(&self) -> u64 {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(all) => all.len(),
        }
    }

    /// Is any of them in a set?
    pub(super) fn meets(&self, set: &RoaringBitmap) -> bool {
        match self {
            Self::None => false,
            Self::One(only) => set.contains(*only),
            Self::Many(all) => !all.is_disjoint(set),
        }
    }

    /// How many of them are in a set.
    pub(super) fn count_in(&self, set: &RoaringBitmap) -> u64 {
        match self {
            Self::None => 0,
            Self::One(only) => u64::from(set.contains(*only)),
            Self::Many(all) => all.intersection_len(set),
        }
    }

    /// Keeps those of `set` that are here.
    pub(super) fn narrow(&self, set: &mut RoaringBitmap) {
        match self {
            Self::None => set.clear(),
            Self::One(only) => {
                let there = set.contains(*only);
                set.clear();
                if there {
                    set.insert(*only);
                }
            }
            Self::Many(all) => *set &= &**all,
        }
    }
}

/// All series of some postings.
pub(super) fn union<'a>(postings: impl Iterator<Item = &'a Posting>) -> RoaringBitmap {
    let (mut ones, mut all) = (Vec::new(), RoaringBitmap::new());
    for posting in postings {
        match posting {
            Posting::None => {}
            Posting::One(only) => ones.push(*only),
            Posting::Many(many) => all |= &**many,
        }
    }
    ones.sort_unstable();
    all.extend(ones);
    all
}
