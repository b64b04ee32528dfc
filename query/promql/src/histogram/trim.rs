//! The operators `</` and `>/`: what of a histogram lies below or above a number.
//!
//! A bucket across the number keeps a part of its observations, as for quantiles. What is left of the sum is estimated from the
//! middle of what is left of each bucket.

use super::quantile::fraction_below;
use super::{Bucket, Histogram};

/// Which side of the number is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keep {
    Below,
    Above,
}

/// The buckets a bucket is one of, which say where its middle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Custom,
    Positive,
    Negative,
}

/// What is left: a count, and the value it stands for.
type Kept = (f64, f64);

impl Histogram {
    /// The operator `</`: drops the observations above `limit`.
    pub(crate) fn keep_below(&mut self, limit: f64) {
        self.trim(limit, Keep::Below);
    }

    /// The operator `>/`: drops the observations below `limit`.
    pub(crate) fn keep_above(&mut self, limit: f64) {
        self.trim(limit, Keep::Above);
    }

    fn trim(&mut self, limit: f64, keep: Keep) {
        let positive_kind = if self.is_custom() { Kind::Custom } else { Kind::Positive };
        let negative_kind = if self.is_custom() { Kind::Custom } else { Kind::Negative };
        let kept = |kind| {
            move |bucket: Bucket| match bucket.count {
                0.0 => (bucket.count, None),
                count => (count, Some(keep.of(bucket, limit, kind))),
            }
        };
        let positive: Vec<(f64, Option<Kept>)> = self.positive_buckets().map(kept(positive_kind)).collect();
        let negative: Vec<(f64, Option<Kept>)> = self.negative_buckets().map(kept(negative_kind)).collect();
        let (mut count, mut sum, mut is_trimmed) = (0.0, 0.0, false);
        for (counts, side) in [(&mut self.positive.counts, &positive), (&mut self.negative.counts, &negative)] {
            for (place, (before, kept)) in counts.iter_mut().zip(side) {
                let Some((kept, middle)) = *kept else { continue };
                count += kept;
                sum += middle * kept;
                is_trimmed |= *before != kept;
                *place = kept;
            }
        }
        if self.zero_count > 0.0 && !self.is_custom() {
            let is_populated = |side: &[(f64, Option<Kept>)]| side.iter().any(|(_, kept)| kept.is_some());
            let (kept, middle) = self.trim_zero(limit, keep, is_populated(&negative), is_populated(&positive));
            is_trimmed |= self.zero_count != kept;
            self.zero_count = kept;
            sum += middle * kept;
            count += kept;
        }
        if is_trimmed {
            (self.count, self.sum) = (count, sum);
            self.compact(0);
        }
    }

    /// The zero bucket ends at zero where the histogram has no buckets behind it.
    fn trim_zero(&self, limit: f64, keep: Keep, has_negative: bool, has_positive: bool) -> Kept {
        let bucket = self.zero_bucket();
        let lower = if has_positive && !has_negative { 0.0 } else { bucket.lower };
        let upper = if has_negative && !has_positive { 0.0 } else { bucket.upper };
        let all = (bucket.count, (lower + upper) / 2.0);
        match keep {
            Keep::Below if limit <= lower => (0.0, 0.0),
            Keep::Below if limit >= upper => all,
            Keep::Below => (bucket.count * ((limit - lower) / (upper - lower)), (lower + limit) / 2.0),
            Keep::Above if limit <= lower => all,
            Keep::Above if limit >= upper => (0.0, 0.0),
            Keep::Above => (bucket.count * ((upper - limit) / (upper - lower)), (limit + upper) / 2.0),
        }
    }
}

impl Keep {
    fn of(self, bucket: Bucket, limit: f64, kind: Kind) -> Kept {
        let (keeps_all, keeps_some) = match self {
            Self::Below => (bucket.upper <= limit, bucket.lower < limit),
            Self::Above => (bucket.lower >= limit, bucket.upper > limit),
        };
        if keeps_all {
            (bucket.count, middle(bucket.lower, bucket.upper, kind))
        } else if !keeps_some {
            (0.0, 0.0)
        } else if bucket.lower == f64::NEG_INFINITY {
            self.of_lowest(bucket, limit)
        } else if bucket.upper == f64::INFINITY {
            self.of_highest(bucket, limit)
        } else {
            self.of_finite(bucket, limit, kind)
        }
    }

    fn of_finite(self, bucket: Bucket, limit: f64, kind: Kind) -> Kept {
        let below = if limit <= bucket.lower {
            0.0
        } else if limit >= bucket.upper {
            bucket.count
        } else {
            bucket.count * fraction_below(&bucket, limit, kind == Kind::Custom)
        };
        match self {
            Self::Below => (below, middle(bucket.lower, limit, kind)),
            Self::Above => (bucket.count - below, middle(limit, bucket.upper, kind)),
        }
    }

    /// A bucket without lower bound. If it reaches above zero it is taken to begin there; else nothing is known of how its
    /// observations are spread.
    fn of_lowest(self, bucket: Bucket, limit: f64) -> Kept {
        let (count, upper) = (bucket.count, bucket.upper);
        let unknown = (0.0, if upper.is_infinite() { 0.0 } else { upper });
        match self {
            Self::Below if limit >= upper => (count, 0.0),
            Self::Below if limit > 0.0 && upper > 0.0 && upper != f64::INFINITY => (count * limit / upper, limit / 2.0),
            Self::Below if upper <= 0.0 => (count, limit),
            Self::Above if limit == f64::NEG_INFINITY => (count, 0.0),
            Self::Above if limit >= 0.0 && upper > limit && upper != f64::INFINITY => {
                (count * (1.0 - limit / upper), (limit + upper) / 2.0)
            }
            Self::Below | Self::Above => unknown,
        }
    }

    /// A bucket without upper bound, of which nothing is known.
    fn of_highest(self, bucket: Bucket, limit: f64) -> Kept {
        match self {
            Self::Above if limit >= bucket.lower => (bucket.count, limit),
            Self::Below | Self::Above => (0.0, bucket.lower),
        }
    }
}

/// The value that the observations between two bounds stand for: of exponential buckets the geometric mean.
fn middle(lower: f64, upper: f64, kind: Kind) -> f64 {
    if lower.is_infinite() {
        return match upper {
            _ if upper.is_infinite() => 0.0,
            _ if upper > 0.0 => upper / 2.0,
            _ => upper,
        };
    }
    if upper.is_infinite() {
        return lower;
    }
    match kind {
        Kind::Custom => (lower + upper) / 2.0,
        Kind::Positive => (lower * upper).abs().sqrt(),
        Kind::Negative => -(lower * upper).abs().sqrt(),
    }
}
