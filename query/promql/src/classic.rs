//! Histograms made of `_bucket` series: quantiles and fractions.
//!
//! The evaluator gathers the series of a histogram into pairs of an upper bound, the label `le`, and a cumulative count. Scrapes at
//! different times and rounding make counts fall where they must not; that is mended first, and said. Native histograms are in
//! [`crate::histogram`].

use crate::histogram::float::almost_equal;

/// Counts of neighbouring buckets that differ relatively by less are the same but for rounding. It would take 10^12 observations
/// for one more to go unseen.
const TOLERANCE: f64 = 1e-12;

/// A quantile, and what was mended for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quantile {
    /// The quantile.
    pub value: f64,
    /// What was mended.
    pub mended: Mended,
}

/// What was wrong with the counts of buckets.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Mended {
    /// Some counts were lower than that of a bucket before: an annotation is due.
    pub forced_monotonic: bool,
    /// Some counts differed by no more than rounding.
    pub has_small_delta: bool,
    /// The lowest upper bound of a bucket whose count was lower. Positive infinity if there were buckets but none of these.
    pub min_bucket: f64,
    /// The highest upper bound of such a bucket. Negative infinity if there were buckets but none of these.
    pub max_bucket: f64,
    /// By how much a count was lower at most.
    pub max_diff: f64,
}

/// The `q`-quantile of pairs of upper bounds and cumulative counts in any order. They are sorted, joined and mended in place.
///
/// In a bucket observations are taken to be spread evenly; the first begins at zero if it ends above. A quantile in the infinite
/// bucket is the bound before it. It is NaN without observations or infinite bucket, and infinite if `q` is not within 0 and 1.
#[must_use]
pub(crate) fn bucket_quantile(q: f64, buckets: &mut Vec<(f64, f64)>) -> Quantile {
    let plain = |value| Quantile { value, mended: Mended::default() };
    match q {
        _ if q.is_nan() => return plain(f64::NAN),
        _ if q < 0.0 => return plain(f64::NEG_INFINITY),
        _ if q > 1.0 => return plain(f64::INFINITY),
        _ => {}
    }
    if !sort_and_join(buckets) {
        return plain(f64::NAN);
    }
    let mended = mend(buckets);
    let value = match buckets.as_slice() {
        [finite @ .., (_, all)] if !finite.is_empty() && *all != 0.0 => quantile_of(q * all, finite),
        _ => f64::NAN,
    };
    Quantile { value, mended }
}

/// `finite` are the buckets without the infinite one.
fn quantile_of(rank: f64, finite: &[(f64, f64)]) -> f64 {
    let at = first_with(finite, rank);
    let before = at.checked_sub(1).and_then(|before| finite.get(before)).copied();
    match finite.get(at) {
        None => before.map_or(f64::NAN, |(upper, _)| upper),
        Some((upper, _)) if before.is_none() && *upper <= 0.0 => *upper,
        Some((upper, count)) => {
            let (lower, below) = before.unwrap_or((0.0, 0.0));
            lower + (upper - lower) * ((rank - below) / (count - below))
        }
    }
}

/// The first bucket with so many observations. The steps are Go's, which matters if counts are NaN.
fn first_with(buckets: &[(f64, f64)], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        match buckets.get(middle) {
            Some((_, count)) if *count >= rank => high = middle,
            _ => low = middle + 1,
        }
    }
    low
}

/// Which part of the observations is between two values. The buckets may be in any order, and are sorted and joined in place.
#[must_use]
pub(crate) fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<(f64, f64)>) -> f64 {
    if !sort_and_join(buckets) {
        return f64::NAN;
    }
    let (Some((first, _)), Some((_, all))) = (buckets.first(), buckets.last()) else { return f64::NAN };
    if *all == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let mut begin = if *first <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    let (mut rank, mut lower_rank, mut upper_rank) = (0.0, None, None);
    for &(end, count) in buckets.iter() {
        let rank_of = |value: f64| match value {
            _ if begin >= value => Some(rank),
            _ if !(begin < value && end > value) => None,
            _ if begin == f64::NEG_INFINITY => Some(count),
            _ => Some(rank + (count - rank) * (value - begin) / (end - begin)),
        };
        lower_rank = lower_rank.or_else(|| rank_of(lower));
        upper_rank = upper_rank.or_else(|| rank_of(upper));
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        (begin, rank) = (end, count);
    }
    let within = |rank: Option<f64>| match rank {
        Some(rank) if rank > *all => *all,
        Some(rank) => rank,
        None => *all,
    };
    (within(upper_rank) - within(lower_rank)) / all
}

/// Sorts buckets and joins those of the same bound. Whether the last is the infinite one.
fn sort_and_join(buckets: &mut Vec<(f64, f64)>) -> bool {
    // A bound is never NaN, but an order has to be one.
    buckets.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or_else(|| a.total_cmp(b)));
    if buckets.last().is_none_or(|(upper, _)| *upper != f64::INFINITY) {
        return false;
    }
    buckets.dedup_by(|(upper, count), (kept_upper, kept_count)| {
        let is_same = upper == kept_upper;
        if is_same {
            *kept_count += *count;
        }
        is_same
    });
    true
}

/// Takes back what counts fall, and what they differ by rounding in either direction.
fn mend(buckets: &mut [(f64, f64)]) -> Mended {
    let mut mended = Mended { min_bucket: f64::INFINITY, max_bucket: f64::NEG_INFINITY, ..Mended::default() };
    let mut before = buckets.first().map_or(0.0, |(_, count)| *count);
    for (upper, count) in buckets.iter_mut().skip(1) {
        if *count == before {
            continue;
        }
        if almost_equal(before, *count, TOLERANCE) {
            mended.has_small_delta = true;
            *count = before;
        } else if *count < before {
            mended.forced_monotonic = true;
            mended.min_bucket = mended.min_bucket.min(*upper);
            mended.max_bucket = mended.max_bucket.max(*upper);
            mended.max_diff = mended.max_diff.max(before - *count);
            *count = before;
        } else {
            before = *count;
        }
    }
    mended
}

#[cfg(test)]
mod tests;
