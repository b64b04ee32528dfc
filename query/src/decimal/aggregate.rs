//! `sum` and `avg`, exact over decimals.
//!
//! Registered in place of DataFusion's, whose sum of 38 digits wraps without an error; of other types than decimals they do what those
//! do. A sum has 38 digits and the scale of what is summed; an average up to four digits more behind the point, rounded half to even.
//!
//! Invariant: a result of too many digits is an error.

use std::{fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef},
    compute::cast,
    datatypes::{DataType, Field, FieldRef, i256},
};
use datafusion::{
    common::{Result, ScalarValue},
    error::DataFusionError,
    functions_aggregate::{average::avg_udaf, sum::sum_udaf},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator, ReversedUDAF,
        SetMonotonicity, Signature, StatisticsArgs,
        expr::AggregateFunction,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::{AggregateOrderSensitivity, format_state_name},
    },
};

use super::{
    accumulate::{Distinct, Running},
    groups::Groups,
    shape::Shape,
    total::Total,
    wide::{DIGITS_MAX, WIDE_DIGITS_MAX, divide_scaled, fits, narrow_power},
};
use crate::{Error, ErrorKind, Fault};

/// `sum` and `avg`, in this order.
pub(crate) fn aggregates() -> [Arc<AggregateUDF>; 2] {
    [(sum_udaf(), false), (avg_udaf(), true)]
        .map(|(other, is_average)| Arc::new(AggregateUDF::from(Exact { other, is_average })))
}

/// What is computed over which decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    input: Shape,
    is_narrow: bool,
    is_average: bool,
}

impl Kind {
    /// Of values of a type; `None` if they are no decimals.
    fn of(data_type: &DataType, is_average: bool) -> Option<Self> {
        let input = Shape::of_type(data_type).filter(|_| data_type.is_decimal())?;
        Some(Self { input, is_narrow: !matches!(data_type, DataType::Decimal256(..)), is_average })
    }

    pub(super) fn is_average(self) -> bool {
        self.is_average
    }

    pub(super) fn is_narrow(self) -> bool {
        self.is_narrow
    }

    fn digits_max(self) -> u8 {
        if self.is_narrow { DIGITS_MAX } else { WIDE_DIGITS_MAX }
    }

    fn scale(self) -> i8 {
        if self.is_average { self.input.average(self.digits_max()).scale } else { self.input.scale }
    }

    /// Type of the result.
    pub(super) fn result(self) -> DataType {
        if self.is_narrow {
            DataType::Decimal128(DIGITS_MAX, self.scale())
        } else {
            DataType::Decimal256(WIDE_DIGITS_MAX, self.scale())
        }
    }

    /// Type of sums on the way.
    pub(super) fn state(self) -> DataType {
        DataType::Decimal256(WIDE_DIGITS_MAX, self.input.scale)
    }

    /// A column of 128 or 256 bits.
    pub(super) fn input(self, values: &ArrayRef) -> Result<ArrayRef> {
        match values.data_type() {
            DataType::Decimal128(..) | DataType::Decimal256(..) => Ok(Arc::clone(values)),
            _ => Ok(cast(values, &self.input.narrow_type())?),
        }
    }

    /// Are these sums of 128 bits results?
    pub(super) fn all_fit(self, values: &[i128]) -> bool {
        let limit = narrow_power(u32::from(DIGITS_MAX)).unwrap_or(i128::MAX);
        values.iter().all(|value| *value < limit && *value > -limit)
    }

    /// The result of a sum of so many rows.
    pub(super) fn finish(self, total: Option<i256>, rows: u64) -> Result<Option<i256>> {
        if rows == 0 {
            return Ok(None);
        }
        let up = u32::from((self.scale() - self.input.scale).unsigned_abs());
        let average = |total| divide_scaled(total, i256::from_i128(i128::from(rows)), up);
        let value = if self.is_average { total.and_then(average) } else { total };
        value.filter(|value| fits(*value, self.digits_max())).map(Some).ok_or_else(|| too_large(self))
    }

    pub(super) fn scalar(self, total: Total, rows: u64) -> Result<ScalarValue> {
        let value = self.finish(total.value(), rows)?;
        Ok(if self.is_narrow {
            ScalarValue::Decimal128(value.and_then(i256::to_i128), DIGITS_MAX, self.scale())
        } else {
            ScalarValue::Decimal256(value, WIDE_DIGITS_MAX, self.scale())
        })
    }
}

pub(super) fn too_large(kind: Kind) -> DataFusionError {
    let (name, result) = (if kind.is_average { "avg" } else { "sum" }, kind.result());
    let message =
        format!("a result of `{name}` has too many digits; cast what it is over to fewer of them result={result}");
    Error::new(ErrorKind::Execution, message).of(Fault::OutOfRange).into()
}

/// `sum` or `avg`.
#[derive(PartialEq, Eq, Hash)]
struct Exact {
    /// That of DataFusion, for other types.
    other: Arc<AggregateUDF>,
    is_average: bool,
}

impl Exact {
    fn kind(&self, fields: &[FieldRef]) -> Option<Kind> {
        Kind::of(fields.first()?.data_type(), self.is_average)
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exact").field("name", &self.other.name()).finish_non_exhaustive()
    }
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        self.other.name()
    }

    fn aliases(&self) -> &[String] {
        self.other.aliases()
    }

    fn signature(&self) -> &Signature {
        self.other.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first().and_then(|data_type| Kind::of(data_type, self.is_average)) {
            Some(kind) => Ok(kind.result()),
            None => self.other.inner().return_type(types),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.kind(args.expr_fields) {
            Some(kind) if args.is_distinct => Ok(Box::new(Distinct::new(kind))),
            Some(kind) => Ok(Box::new(Running::new(kind))),
            None => self.other.inner().accumulator(args),
        }
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        match self.kind(args.expr_fields) {
            Some(_) => self.accumulator(args),
            None => self.other.inner().create_sliding_accumulator(args),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let Some(kind) = self.kind(args.input_fields) else { return self.other.inner().state_fields(args) };
        let field = |what, data_type| Arc::new(Field::new(format_state_name(args.name, what), data_type, true));
        Ok(if args.is_distinct {
            vec![field("distinct", Distinct::state(kind))]
        } else if self.is_average {
            vec![field("count", DataType::UInt64), field("sum", kind.state())]
        } else {
            vec![field("sum", kind.state())]
        })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        match self.kind(args.expr_fields) {
            Some(_) => !args.is_distinct,
            None => self.other.inner().groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        match self.kind(args.expr_fields) {
            Some(kind) => Ok(Box::new(Groups::new(kind))),
            None => self.other.inner().create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.other.inner().order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.other.inner().set_monotonicity(data_type)
    }

    fn simplify_expr_op_literal(
        &self,
        function: &AggregateFunction,
        arg: &Expr,
        operator: Operator,
        literal: &Expr,
        arg_is_left: bool,
    ) -> Result<Option<Expr>> {
        // Sums of decimals are no operators of DataFusion, so these are of other types.
        self.other.inner().simplify_expr_op_literal(function, arg, operator, literal, arg_is_left)
    }

    fn value_from_stats(&self, args: &StatisticsArgs) -> Option<ScalarValue> {
        if args.return_type.is_decimal() { None } else { self.other.inner().value_from_stats(args) }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.other.documentation()
    }
}
