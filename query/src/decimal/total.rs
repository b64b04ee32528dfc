//! Running sums that cannot overflow.
//!
//! Used by the aggregates. A sum is 128 bits, which is all that real sums need, and a count of how often they overflowed, which is kept
//! only once it has happened: the common way costs one addition and one test a row.
//!
//! Invariant: a sum is `low + carry * 2^128`, whatever the order of additions, so a sum that leaves the range and comes back is right.

use arrow::datatypes::i256;

/// One sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Total {
    low: i128,
    carry: i128,
}

impl Total {
    pub(super) fn add(&mut self, value: i128) {
        let (low, overflowed) = self.low.overflowing_add(value);
        self.low = low;
        if overflowed {
            self.carry += if value > 0 { 1 } else { -1 };
        }
    }

    pub(super) fn subtract(&mut self, value: i128) {
        let (low, overflowed) = self.low.overflowing_sub(value);
        self.low = low;
        if overflowed {
            self.carry += if value > 0 { -1 } else { 1 };
        }
    }

    /// Adds a value of 256 bits; false if the sum leaves 256 bits.
    #[must_use]
    pub(super) fn add_wide(&mut self, value: i256) -> bool {
        let (low, carry) = split(value);
        self.add(low);
        match self.carry.checked_add(carry) {
            Some(carry) => self.carry = carry,
            None => return false,
        }
        true
    }

    #[must_use]
    pub(super) fn subtract_wide(&mut self, value: i256) -> bool {
        value.checked_neg().is_some_and(|value| self.add_wide(value))
    }

    /// The sum, if 256 bits hold it.
    pub(super) fn value(self) -> Option<i256> {
        join(self.low, self.carry)
    }
}

/// Sums of many groups.
#[derive(Debug, Default)]
pub(super) struct Totals {
    lows: Vec<i128>,
    /// Empty until the first overflow.
    carries: Vec<i128>,
}

impl Totals {
    pub(super) fn resize(&mut self, groups: usize) {
        self.lows.resize(groups, 0);
        if !self.carries.is_empty() {
            self.carries.resize(groups, 0);
        }
    }

    #[inline]
    pub(super) fn add(&mut self, group: usize, value: i128) {
        let (low, overflowed) = self.lows[group].overflowing_add(value);
        self.lows[group] = low;
        if overflowed {
            *self.carry(group) += if value > 0 { 1 } else { -1 };
        }
    }

    /// Adds a value of 256 bits; false if the sum leaves 256 bits.
    #[must_use]
    pub(super) fn add_wide(&mut self, group: usize, value: i256) -> bool {
        let (low, carry) = split(value);
        self.add(group, low);
        if carry == 0 {
            return true;
        }
        let kept = self.carry(group);
        match kept.checked_add(carry) {
            Some(sum) => *kept = sum,
            None => return false,
        }
        true
    }

    /// Takes the sums of the first groups, or of all; `None` where 256 bits do not hold it.
    pub(super) fn take(&mut self, groups: usize) -> impl Iterator<Item = Option<i256>> + use<> {
        let lows = take_first(&mut self.lows, groups);
        let carries = if self.carries.is_empty() { Vec::new() } else { take_first(&mut self.carries, groups) };
        lows.into_iter().enumerate().map(move |(i, low)| join(low, carries.get(i).copied().unwrap_or(0)))
    }

    /// Takes the sums that 128 bits hold; `None` if one does not.
    pub(super) fn take_narrow(&mut self, groups: usize) -> Option<Vec<i128>> {
        if self.carries.iter().take(groups).any(|carry| *carry != 0) {
            return None;
        }
        if !self.carries.is_empty() {
            take_first(&mut self.carries, groups);
        }
        Some(take_first(&mut self.lows, groups))
    }

    pub(super) fn len(&self) -> usize {
        self.lows.len()
    }

    pub(super) fn size(&self) -> usize {
        (self.lows.capacity() + self.carries.capacity()) * size_of::<i128>()
    }

    #[cold]
    fn carry(&mut self, group: usize) -> &mut i128 {
        self.carries.resize(self.lows.len(), 0);
        &mut self.carries[group]
    }
}

/// Takes the first of a list; what is left keeps its memory, as it goes on growing.
pub(super) fn take_first<T>(list: &mut Vec<T>, count: usize) -> Vec<T> {
    if count >= list.len() { std::mem::take(list) } else { list.drain(..count).collect() }
}

/// The nearest multiple of 2^128 below, or above for negative ones, and the rest.
fn split(value: i256) -> (i128, i128) {
    let (low, high) = value.to_parts();
    let low = low.cast_signed();
    (low, if low < 0 { high.wrapping_add(1) } else { high })
}

fn join(low: i128, carry: i128) -> Option<i256> {
    let high = if low < 0 { carry.checked_sub(1)? } else { carry };
    Some(i256::from_parts(low.cast_unsigned(), high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_leaves_128_bits_and_comes_back_is_right() {
        let largest = 10_i128.pow(38) - 1;
        for sign in [1, -1] {
            let (mut one, mut many) = (Total::default(), Totals::default());
            many.resize(2);
            for _ in 0..1000 {
                one.add(sign * largest);
                many.add(1, sign * largest);
            }
            let expected = i256::from_i128(sign * largest) * i256::from_i128(1000);
            assert_eq!(one.value(), Some(expected));
            for _ in 0..999 {
                one.subtract(sign * largest);
                many.add(1, -sign * largest);
            }
            assert_eq!(one.value(), Some(i256::from_i128(sign * largest)));
            many.resize(3);
            assert_eq!(many.take_narrow(3), Some(vec![0, sign * largest, 0]));
        }
    }

    #[test]
    fn wide_values_are_split_and_joined() {
        for value in [i256::ZERO, i256::ONE, -i256::ONE, i256::from_i128(i128::MIN), i256::from_i128(i128::MAX)] {
            for factor in [i256::ONE, i256::from_i128(i128::MAX), i256::from_i128(-3)] {
                let value = value.wrapping_mul(factor);
                let (low, carry) = split(value);
                assert_eq!(join(low, carry), Some(value), "{value}");
                let mut total = Total::default();
                assert!(total.add_wide(value) && total.add_wide(value) && total.subtract_wide(value));
                assert_eq!(total.value(), Some(value));
            }
        }
    }
}
