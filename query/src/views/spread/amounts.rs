//! Splits an amount by time, so that the parts add up to it.

use std::ops::Range;

use arrow::datatypes::i256;

use super::{DAY_US, DAYS_MAX};

/// The part of `times_us` that each UTC day has, if they are more than a day and not too many; else none.
pub(super) fn days(times_us: &Range<i64>) -> Vec<Range<i64>> {
    let length = times_us.end.saturating_sub(times_us.start);
    if length <= DAY_US || length > DAYS_MAX * DAY_US {
        return Vec::new();
    }
    let first = times_us.start.div_euclid(DAY_US);
    let last = (times_us.end - 1).div_euclid(DAY_US);
    let part = |day: i64| times_us.start.max(day * DAY_US)..times_us.end.min((day + 1) * DAY_US);
    (first..=last).map(part).collect()
}

/// Parts of an amount by the lengths of some times: each is rounded towards zero, and what is left over goes by one to those that lost
/// most, the earlier ones first.
pub(super) fn split(amount: i128, lengths: &[i64], out: &mut Vec<i128>) {
    let wide = |value: i64| i256::from_i128(i128::from(value));
    let total = i256::from_i128(lengths.iter().map(|length| i128::from(*length)).sum());
    let (begin, mut left) = (out.len(), amount);
    let mut lost = Vec::with_capacity(lengths.len());
    for (at, length) in lengths.iter().enumerate() {
        // 38 digits times those of a day in microseconds are within 256 bits, and a part is not more than the whole.
        let product = i256::from_i128(amount).wrapping_mul(wide(*length));
        let (part, rest) = (product.checked_div(total), product.checked_rem(total));
        let part = part.and_then(i256::to_i128).unwrap_or_default();
        lost.push((rest.unwrap_or_default().wrapping_abs(), at));
        out.push(part);
        left -= part;
    }
    lost.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    // Less than one for each part is left over.
    let count = usize::try_from(left.unsigned_abs()).unwrap_or_default();
    for (_, at) in lost.into_iter().take(count) {
        out[begin + at] += left.signum();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parts(amount: i128, lengths: &[i64]) -> Vec<i128> {
        let mut out = Vec::new();
        split(amount, lengths, &mut out);
        out
    }

    #[test]
    fn what_is_left_over_goes_to_those_that_lost_most() {
        assert_eq!(parts(10, &[1, 1, 1]), [4, 3, 3]);
        assert_eq!(parts(-11, &[1, 1, 1]), [-4, -4, -3]);
        // 100 · 1/6, 3/6, 2/6 = 16.67, 50, 33.33
        assert_eq!(parts(100, &[1, 3, 2]), [17, 50, 33]);
        assert_eq!(parts(0, &[5, 5]), [0, 0]);
        let most = 10_i128.pow(38) - 1;
        assert_eq!(parts(most, &[DAY_US; 3]), [most / 3; 3]);
    }

    #[test]
    fn days_are_those_of_utc_and_only_of_more_than_one() {
        let hour = DAY_US / 24;
        assert_eq!(days(&(0..DAY_US)), []);
        assert_eq!(days(&(hour..DAY_US + hour)), []);
        assert_eq!(days(&(-hour..DAY_US)), [-hour..0, 0..DAY_US]);
        assert_eq!(days(&(0..DAY_US + 1)), [0..DAY_US, DAY_US..DAY_US + 1]);
        assert_eq!(days(&Range { start: 5, end: 3 }), []);
        assert_eq!(days(&(0..DAYS_MAX * DAY_US)).len(), 4026);
        assert_eq!(days(&(0..DAYS_MAX * DAY_US + 1)), []);
        assert_eq!(days(&(i64::MIN..i64::MAX)), []);
    }

    proptest! {
        #[test]
        fn parts_add_up_and_are_within_one_of_their_share(
            amount in -10_i128.pow(38) + 1..10_i128.pow(38),
            start in 0..400 * DAY_US,
            length in 0..400 * DAY_US,
        ) {
            let days = days(&(start..start + length));
            prop_assert_eq!(days.is_empty(), length <= DAY_US);
            let lengths: Vec<i64> = days.iter().map(|day| day.end - day.start).collect();
            let parts = parts(amount, &lengths);
            if !days.is_empty() {
                prop_assert_eq!(lengths.iter().sum::<i64>(), length);
                prop_assert_eq!(parts.iter().sum::<i128>(), amount);
            }
            for (part, own) in parts.iter().zip(&lengths) {
                let share = i256::from_i128(amount) * i256::from_i128(i128::from(*own));
                let off = i256::from_i128(*part) * i256::from_i128(i128::from(length)) - share;
                prop_assert!(off.wrapping_abs() < i256::from_i128(i128::from(length)));
            }
        }
    }
}
