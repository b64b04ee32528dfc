//! Histograms as text, for people.

use std::fmt::{Display, Formatter, Result};

use super::{Bucket, Histogram};
use crate::number::short;

impl Display for Histogram {
    /// `{count:3, sum:4.5, [-0.5,0.5]:1, (1,2]:2}`. The bounds are those of the schema even where the zero bucket covers them.
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{{count:{}, sum:{}", short(self.count), short(self.sum))?;
        let buckets = self.negative_buckets_reversed().chain([self.zero_bucket()]).chain(self.positive_buckets());
        for bucket in buckets.filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

impl Display for Bucket {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (open, close) =
            (if self.lower_inclusive { '[' } else { '(' }, if self.upper_inclusive { ']' } else { ')' });
        write!(f, "{open}{},{}{close}:{}", short(self.lower), short(self.upper), short(self.count))
    }
}
