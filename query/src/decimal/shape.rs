//! Which type the result of an operation has.
//!
//! Called while planning, by all of `decimal`. The tables of SQL's other engines cut digits off a product of two amounts, or let it
//! overflow at a few thousands: they add the scales up. Here amounts of money keep the scale they are stored with.
//!
//! Invariants: the digits before the point that both operands declare are kept where 38 digits allow it; where they do not, at least
//! 16 of them are, ten thousand times 10¹²; results of `+` and `-` of one scale are never rounded.

use arrow::datatypes::DataType;

use super::wide::{DIGITS_MAX, WIDE_DIGITS_MAX};

/// Scale that the scarcity of digits does not cut: that of money, and 16 digits are before the point.
pub(super) const SCALE_KEPT: i8 = 22;

/// Digits and scale of a decimal, or of an integer seen as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd)]
pub(super) struct Shape {
    pub digits: u8,
    pub scale: i8,
}

/// Operators of decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

impl Operation {
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Add => "decimal_add",
            Self::Subtract => "decimal_subtract",
            Self::Multiply => "decimal_multiply",
            Self::Divide => "decimal_divide",
            Self::Modulo => "decimal_modulo",
        }
    }

    /// The result of this operation.
    pub(super) fn result(self, left: Shape, right: Shape) -> Shape {
        let (most, least) = (left.scale.max(right.scale), left.scale.min(right.scale));
        match self {
            Self::Add | Self::Subtract => {
                let whole = left.whole().max(right.whole());
                let scale = most.min(SCALE_KEPT.max(least).max(room(whole)));
                Shape::of(whole.saturating_add(1), scale)
            }
            Self::Multiply => {
                let whole = left.whole().saturating_add(right.whole());
                let exact = left.scale.saturating_add(right.scale);
                Shape::of(whole, exact.min(room(whole).max(most.min(SCALE_KEPT))))
            }
            Self::Divide => {
                let whole = left.whole().saturating_add(right.scale);
                Shape::of(whole, SCALE_KEPT.max(left.scale.min(room(whole))))
            }
            // A remainder is less than both operands.
            Self::Modulo => {
                Shape::of(left.whole().min(right.whole()), most.min(i8::try_from(DIGITS_MAX).unwrap_or(38)))
            }
        }
    }
}

impl Shape {
    /// The shape of a decimal or an integer; `None` of other types.
    pub(super) fn of_type(data_type: &DataType) -> Option<Self> {
        let (digits, scale) = match data_type {
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => (*p, *s),
            DataType::Int8 | DataType::UInt8 => (3, 0),
            DataType::Int16 | DataType::UInt16 => (5, 0),
            DataType::Int32 | DataType::UInt32 => (10, 0),
            DataType::Int64 => (19, 0),
            DataType::UInt64 => (20, 0),
            _ => return None,
        };
        Some(Self { digits, scale })
    }

    /// Digits before the point.
    pub(super) fn whole(self) -> i8 {
        i8::try_from(self.digits).unwrap_or(i8::MAX).saturating_sub(self.scale)
    }

    /// A decimal of this shape.
    pub(super) fn narrow_type(self) -> DataType {
        DataType::Decimal128(self.digits.clamp(1, DIGITS_MAX), self.scale)
    }

    /// The type for values of so many digits before and behind the point, if 38 do not suffice for it.
    pub(super) fn wide_type(whole: i8, scale: i8) -> Option<DataType> {
        let digits = u8::try_from(whole.saturating_add(scale)).unwrap_or(1);
        (digits > DIGITS_MAX).then(|| DataType::Decimal256(digits.min(WIDE_DIGITS_MAX), scale))
    }

    /// The average of values of this shape: four digits more, where the digits before the point leave room.
    pub(super) fn average(self, digits_max: u8) -> Self {
        let room = i8::try_from(digits_max).unwrap_or(i8::MAX).saturating_sub(self.whole());
        Self { digits: digits_max, scale: self.scale.max(self.scale.saturating_add(4).min(room)) }
    }

    fn of(whole: i8, scale: i8) -> Self {
        let digits = u8::try_from(whole.saturating_add(scale).max(scale).max(1)).unwrap_or(1);
        Self { digits: digits.min(DIGITS_MAX), scale }
    }
}

/// Digits that are left behind the point.
fn room(whole: i8) -> i8 {
    i8::try_from(DIGITS_MAX).unwrap_or(i8::MAX).saturating_sub(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_keeps_its_scale() {
        let shape = |digits, scale| Shape { digits, scale };
        let (money, quantity, count) = (shape(38, 22), shape(38, 15), shape(19, 0));
        for (left, operation, right, expected) in [
            (money, Operation::Multiply, shape(2, 1), money),
            (money, Operation::Multiply, quantity, money),
            (quantity, Operation::Multiply, shape(2, 1), quantity),
            (count, Operation::Multiply, money, money),
            (shape(10, 2), Operation::Multiply, shape(10, 2), shape(20, 4)),
            (shape(38, 36), Operation::Multiply, money, money),
            (money, Operation::Divide, money, money),
            (money, Operation::Divide, quantity, money),
            (count, Operation::Divide, money, money),
            (money, Operation::Divide, count, money),
            (shape(2, 1), Operation::Divide, shape(1, 0), shape(23, 22)),
            (shape(3, 2), Operation::Add, shape(3, 2), shape(4, 2)),
            (money, Operation::Add, quantity, money),
            (shape(38, 30), Operation::Add, shape(38, 30), shape(38, 30)),
            (shape(38, 36), Operation::Subtract, money, money),
            (money, Operation::Modulo, shape(1, 0), shape(23, 22)),
        ] {
            assert_eq!(operation.result(left, right), expected, "{left:?} {} {right:?}", operation.symbol());
        }
        assert_eq!(money.average(38), money);
        assert_eq!(shape(10, 2).average(38), shape(38, 6));
    }
}
