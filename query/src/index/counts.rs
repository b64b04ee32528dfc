//! How many series there are of what: by metric, by label, by pair of label and value.
//!
//! Called for the endpoint that tells what a store is made of. One walk over the pairs, of which the largest are kept in heaps of a
//! fixed size: of a million values no list is made.

use std::{cmp::Reverse, collections::BinaryHeap};

use promql::NAME;
use roaring::RoaringBitmap;

use super::Known;

/// What some series are made of. Lists are in descending order of their numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many.
    pub series: u64,
    /// Pairs of label and value that a series has.
    pub pairs: u64,
    /// Series of each metric.
    pub by_metric: Vec<(String, u64)>,
    /// Values of each label.
    pub values: Vec<(String, u64)>,
    /// Bytes that name and value of each label take in all series together, as if each had its own.
    pub bytes: Vec<(String, u64)>,
    /// Series of each pair, as `name=value`.
    pub by_pair: Vec<(String, u64)>,
}

/// The largest of many; of equal ones those that come first by their names, so that an answer is the same twice.
struct Largest<T> {
    heap: BinaryHeap<Reverse<(u64, Reverse<T>)>>,
    most: usize,
}

impl<T: Ord> Largest<T> {
    fn new(most: usize) -> Self {
        Self { heap: BinaryHeap::new(), most }
    }

    fn add(&mut self, what: T, count: u64) {
        let item = Reverse((count, Reverse(what)));
        if self.heap.len() < self.most {
            self.heap.push(item);
        } else if let Some(mut least) = self.heap.peek_mut()
            && item < *least
        {
            *least = item;
        }
    }

    fn listed(self, text: impl Fn(T) -> String) -> Vec<(String, u64)> {
        // The reverse of what is turned round ascends in descending numbers.
        self.heap.into_sorted_vec().into_iter().map(|Reverse((count, Reverse(what)))| (text(what), count)).collect()
    }
}

impl Known {
    /// What some of the series are made of; at most `most` of each list.
    pub(crate) fn counts(&self, series: &RoaringBitmap, most: usize) -> Counts {
        let (mut by_metric, mut by_pair) = (Largest::new(most), Largest::new(most));
        let (mut of_values, mut of_bytes) = (Largest::new(most), Largest::new(most));
        let mut all = 0;
        for (name, pairs) in self.pairs.names() {
            let (mut values, mut bytes) = (0, 0);
            for pair in pairs {
                let count = self.postings[*pair as usize].count_in(series);
                if count == 0 {
                    continue;
                }
                let value = self.pairs.value(*pair);
                if name == NAME {
                    by_metric.add(value, count);
                }
                by_pair.add((name, value), count);
                values += 1;
                bytes += count * (name.len() + value.len()) as u64;
            }
            if values > 0 {
                all += values;
                of_values.add(name, values);
                of_bytes.add(name, bytes);
            }
        }
        Counts {
            series: series.len(),
            pairs: all,
            by_metric: by_metric.listed(str::to_owned),
            values: of_values.listed(str::to_owned),
            bytes: of_bytes.listed(str::to_owned),
            by_pair: by_pair.listed(|(name, value)| format!("{name}={value}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_kept_in_order() {
        let mut largest = Largest::new(3);
        for (name, count) in [("a", 1), ("b", 5), ("c", 5), ("d", 2), ("e", 9), ("f", 5)] {
            largest.add(name, count);
        }
        let listed = largest.listed(str::to_owned);
        assert_eq!(listed, [("e".to_owned(), 9), ("b".to_owned(), 5), ("c".to_owned(), 5)]);
        let mut none = Largest::new(0);
        none.add("a", 1);
        assert!(none.listed(str::to_owned).is_empty());
    }
}
