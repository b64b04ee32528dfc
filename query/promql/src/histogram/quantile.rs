//! What a histogram tells of its observations: quantiles, fractions, mean and spread.
//!
//! Within a bucket observations are taken to be spread evenly: on a linear scale in custom buckets and the zero bucket, on a
//! logarithmic one in exponential buckets. Observations of NaN are in the count but in no bucket, and make the sum NaN; the answer
//! says so, and the caller makes an annotation of it.

use super::{Bucket, Histogram, float};

/// A quantile or a fraction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// The answer.
    pub value: f64,
    /// What observations of NaN did to it.
    pub nan_observations: Option<NanObservations>,
}

/// What observations of NaN do to an estimate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NanObservations {
    /// The quantile is above every bucket, so it is NaN.
    NanQuantile,
    /// The quantile is too high, as NaN counts as the highest value.
    SkewedQuantile,
    /// They are in no fraction.
    ExcludedFromFraction,
}

impl Histogram {
    /// The `q`-quantile. It is infinite if `q` is not within 0 and 1, and NaN if there are no observations.
    #[must_use]
    pub(crate) fn quantile(&self, q: f64) -> Estimate {
        match q {
            _ if q < 0.0 => f64::NEG_INFINITY.into(),
            _ if q > 1.0 => f64::INFINITY.into(),
            _ if self.count == 0.0 || q.is_nan() => f64::NAN.into(),
            // Observations of NaN make the way from above too long.
            _ if self.sum.is_nan() || q < 0.5 => {
                let (mut buckets, rank) = (self.buckets(), q * self.count);
                let (bucket, count) = reach(&mut buckets, rank);
                let place = Place { bucket, count, rank, from_below: true };
                let above: f64 = buckets.fold(count.min(self.count), |count, bucket| count + bucket.count);
                let nan = self.sum.is_nan() && above < self.count;
                self.quantile_at(place, nan.then_some(NanObservations::SkewedQuantile))
            }
            _ => {
                let rank = (1.0 - q) * self.count;
                let (bucket, count) = reach(&mut self.buckets_reversed(), rank);
                self.quantile_at(Place { bucket, count, rank, from_below: false }, None)
            }
        }
    }

    fn quantile_at(&self, place: Place, nan_observations: Option<NanObservations>) -> Estimate {
        let Place { mut bucket, count, mut rank, from_below } = place;
        if self.is_custom() {
            if bucket.lower == f64::NEG_INFINITY {
                if bucket.upper <= 0.0 {
                    return bucket.upper.into();
                }
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return bucket.lower.into();
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            bucket = self.one_sided(bucket);
        }
        // Rounding can bring more together than there is.
        let count = if count > self.count { self.count } else { count };
        if count < rank {
            return if self.sum.is_nan() {
                Estimate { value: f64::NAN, nan_observations: Some(NanObservations::NanQuantile) }
            } else {
                bucket.upper.into()
            };
        }
        if from_below {
            rank -= count - bucket.count;
        } else {
            rank = count - rank;
        }
        let fraction = rank / bucket.count;
        Estimate { value: self.interpolated(&bucket, fraction), nan_observations }
    }

    fn interpolated(&self, bucket: &Bucket, fraction: f64) -> f64 {
        if self.is_custom() || (bucket.lower <= 0.0 && bucket.upper >= 0.0) {
            return bucket.lower + (bucket.upper - bucket.lower) * fraction;
        }
        let (lower, upper) = (float::log2(bucket.lower.abs()), float::log2(bucket.upper.abs()));
        if bucket.lower > 0.0 {
            float::exp2(lower + (upper - lower) * fraction)
        } else {
            -float::exp2(upper + (lower - upper) * (1.0 - fraction))
        }
    }

    /// The zero bucket ends at zero if the histogram has no buckets, not even empty ones, behind it.
    fn one_sided(&self, bucket: Bucket) -> Bucket {
        match (self.negative.counts.is_empty(), self.positive.counts.is_empty()) {
            (true, false) => Bucket { lower: 0.0, ..bucket },
            (false, true) => Bucket { upper: 0.0, ..bucket },
            _ => bucket,
        }
    }

    /// Which part of the observations is between two values. Their order matters; the wrong one gives nothing.
    #[must_use]
    pub(crate) fn fraction(&self, lower: f64, upper: f64) -> Estimate {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return f64::NAN.into();
        }
        if lower >= upper {
            return 0.0.into();
        }
        let (mut count, mut rank, mut buckets) = (0.0, 0.0, self.buckets());
        let (mut lower_rank, mut upper_rank) = (None, None);
        for bucket in &mut buckets {
            count += bucket.count;
            let (bucket, is_linear) = self.fraction_bucket(bucket);
            lower_rank = lower_rank.or_else(|| rank_in(&bucket, lower, rank, is_linear));
            upper_rank = upper_rank.or_else(|| rank_in(&bucket, upper, rank, is_linear));
            if lower_rank.is_some() && upper_rank.is_some() {
                break;
            }
            rank += bucket.count;
        }
        let mut nan_observations = None;
        if self.sum.is_nan() {
            count = buckets.fold(count, |count, bucket| count + bucket.count);
            if count < self.count {
                nan_observations = Some(NanObservations::ExcludedFromFraction);
            }
        } else {
            count = self.count;
        }
        let within = |rank: Option<f64>| match rank {
            Some(rank) if rank > count => count,
            Some(rank) => rank,
            None => count,
        };
        Estimate { value: (within(upper_rank) - within(lower_rank)) / self.count, nan_observations }
    }

    /// A bucket with the bounds a fraction takes it to have, and whether observations are spread linearly in it.
    fn fraction_bucket(&self, bucket: Bucket) -> (Bucket, bool) {
        if self.is_custom() {
            let begins_at_zero = bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0;
            (if begins_at_zero { Bucket { lower: 0.0, ..bucket } } else { bucket }, true)
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            (self.one_sided(bucket), true)
        } else {
            (bucket, false)
        }
    }

    /// The mean of the observations.
    #[must_use]
    pub(crate) fn avg(&self) -> f64 {
        self.sum / self.count
    }

    /// Their standard deviation, estimated from the middle of each bucket.
    #[must_use]
    pub(crate) fn stddev(&self) -> f64 {
        self.stdvar().sqrt()
    }

    /// Their variance, estimated from the middle of each bucket.
    #[must_use]
    pub(crate) fn stdvar(&self) -> f64 {
        let mean = self.avg();
        let (mut variance, mut compensation) = (0.0, 0.0);
        for bucket in self.buckets().filter(|bucket| bucket.count != 0.0) {
            let middle = if self.is_custom() {
                (bucket.upper + bucket.lower) / 2.0
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else if bucket.upper < 0.0 {
                -(bucket.upper * bucket.lower).sqrt()
            } else {
                (bucket.upper * bucket.lower).sqrt()
            };
            let delta = middle - mean;
            (variance, compensation) = float::kahan_step(bucket.count * delta * delta, variance, compensation);
        }
        (variance + compensation) / self.count
    }
}

impl From<f64> for Estimate {
    fn from(value: f64) -> Self {
        Self { value, nan_observations: None }
    }
}

/// Where a quantile falls.
struct Place {
    bucket: Bucket,
    /// The observations up to and with the bucket, from the side it was reached from.
    count: f64,
    rank: f64,
    from_below: bool,
}

/// The first bucket with which there are `rank` observations, or the last there is, even if empty; and how many there are then.
fn reach(buckets: &mut impl Iterator<Item = Bucket>, rank: f64) -> (Bucket, f64) {
    let (mut reached, mut count) = (Bucket::default(), 0.0);
    for bucket in buckets {
        reached = bucket;
        if bucket.count == 0.0 {
            continue;
        }
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    (reached, count)
}

/// How many observations are below `value`, if it is in the bucket or below; `rank` of them are below the bucket.
fn rank_in(bucket: &Bucket, value: f64, rank: f64, is_linear: bool) -> Option<f64> {
    if bucket.lower >= value {
        return Some(rank);
    }
    if !(bucket.lower < value && bucket.upper > value) {
        return None;
    }
    if is_linear && bucket.lower == f64::NEG_INFINITY {
        return Some(bucket.count);
    }
    Some(rank + bucket.count * fraction_below(bucket, value, is_linear))
}

/// Which part of a bucket is below a value within it. The bounds of the bucket are finite.
pub(super) fn fraction_below(bucket: &Bucket, value: f64, is_linear: bool) -> f64 {
    if is_linear {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (lower, upper) = (float::log2(bucket.lower.abs()), float::log2(bucket.upper.abs()));
    let value_log = float::log2(value.abs());
    if value > 0.0 { (value_log - lower) / (upper - lower) } else { 1.0 - ((value_log - upper) / (lower - upper)) }
}
