//! `+ - * / %` of decimals.
//!
//! Planned by `plan` in place of DataFusion's operators, whose products and quotients overflow at small values and whose sums may have
//! a digit too many. Values are computed exactly, in 128 bits where they suffice and in 256 where not, then rounded once, half to even,
//! to the scale of the result.
//!
//! Invariant: a result that does not fit in its type is an error, and so is a division by zero.

use std::fmt;

use arrow::{
    array::{Array, ArrayRef, AsArray, Decimal128Array, PrimitiveArray, new_null_array},
    buffer::NullBuffer,
    compute::cast,
    datatypes::{DataType, Decimal128Type, Decimal256Type, i256},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, expr::ScalarFunction,
    },
};
use std::sync::Arc;

use super::{
    shape::{Operation, Shape},
    wide::{divide_rounded_narrow, divide_scaled, narrow, narrow_power, power, rescale},
};
use crate::{Error, ErrorKind, Fault};

/// One operator.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Arithmetic {
    operation: Operation,
    signature: Signature,
}

impl Arithmetic {
    /// `left operation right`; one of both is a decimal, the other one too or an integer.
    pub(super) fn call(operation: Operation, left: Expr, right: Expr) -> Expr {
        let function = Self { operation, signature: Signature::any(2, Volatility::Immutable) };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), vec![left, right]))
    }

    fn text(&self, args: &[Expr], show: impl Fn(&Expr) -> String) -> Result<String> {
        let nested = |expr: &Expr| match expr {
            Expr::BinaryExpr(_) => true,
            Expr::ScalarFunction(f) => f.func.inner().is::<Self>(),
            _ => false,
        };
        let side = |expr: &Expr| if nested(expr) { format!("({})", show(expr)) } else { show(expr) };
        let sides: Vec<String> = args.iter().map(side).collect();
        Ok(sides.join(&format!(" {} ", self.operation.symbol())))
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        self.operation.name()
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.text(args, ToString::to_string)
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.text(args, |expr| expr.schema_name().to_string())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let (left, right) = shapes(types)?;
        Ok(self.operation.result(left, right).narrow_type())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let types: Vec<DataType> = args.args.iter().map(ColumnarValue::data_type).collect();
        let (left, right) = shapes(&types)?;
        let work = Work { operation: self.operation, left, right, result: self.operation.result(left, right) };
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let [left, right] = args.args.as_slice() else { return Err(defect("two arguments").into()) };
        let values = work.run(&Side::of(left, work.left)?, &Side::of(right, work.right)?, rows)?;
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(values))
    }
}

/// Shapes of two operands; of a NULL that of the other one.
fn shapes(types: &[DataType]) -> Result<(Shape, Shape)> {
    let [left, right] = types else { return Err(defect("two arguments").into()) };
    match (Shape::of_type(left), Shape::of_type(right)) {
        (Some(left), Some(right)) => Ok((left, right)),
        (Some(one), None) if right.is_null() => Ok((one, one)),
        (None, Some(one)) if left.is_null() => Ok((one, one)),
        _ => Err(defect("decimals").into()),
    }
}

/// One operand: a column, or a value for all rows.
struct Side {
    values: Values,
    nulls: Option<NullBuffer>,
    /// Of the index of a row: all bits of a column's, none of a value's.
    mask: usize,
}

enum Values {
    Narrow(Decimal128Array),
    Wide(PrimitiveArray<Decimal256Type>),
}

impl Side {
    fn of(value: &ColumnarValue, shape: Shape) -> Result<Self> {
        let (array, mask): (ArrayRef, usize) = match value {
            ColumnarValue::Array(array) => (Arc::clone(array), usize::MAX),
            ColumnarValue::Scalar(value) => (value.to_array()?, 0),
        };
        let values = match array.data_type() {
            DataType::Decimal128(..) => Values::Narrow(array.as_primitive::<Decimal128Type>().clone()),
            DataType::Decimal256(..) => Values::Wide(array.as_primitive::<Decimal256Type>().clone()),
            DataType::Null => {
                let nulls = new_null_array(&shape.narrow_type(), array.len());
                Values::Narrow(nulls.as_primitive::<Decimal128Type>().clone())
            }
            _ => Values::Narrow(cast(&array, &shape.narrow_type())?.as_primitive::<Decimal128Type>().clone()),
        };
        let nulls = match &values {
            Values::Narrow(values) => values.nulls().cloned(),
            Values::Wide(values) => values.nulls().cloned(),
        };
        Ok(Self { values, nulls, mask })
    }

    fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row & self.mask))
    }

    fn wide(&self, row: usize) -> i256 {
        match &self.values {
            Values::Narrow(values) => i256::from_i128(values.value(row & self.mask)),
            Values::Wide(values) => values.value(row & self.mask),
        }
    }
}

/// An operation on operands of known shapes.
#[derive(Clone, Copy)]
struct Work {
    operation: Operation,
    left: Shape,
    right: Shape,
    result: Shape,
}

impl Work {
    fn run(self, left: &Side, right: &Side, rows: usize) -> Result<ArrayRef> {
        let has_nulls = left.nulls.is_some() || right.nulls.is_some();
        let is_null = |row: usize| has_nulls && (left.is_null(row) || right.is_null(row));
        let mut values = Vec::with_capacity(rows);
        match (&left.values, &right.values) {
            (Values::Narrow(a), Values::Narrow(b)) => {
                let (a, b, fast) = (a.values(), b.values(), Fast::of(self));
                for row in 0..rows {
                    let (x, y) = (a[row & left.mask], b[row & right.mask]);
                    values.push(match fast.and_then(|fast| fast.compute(x, y)) {
                        Some(value) => value,
                        None if is_null(row) => 0,
                        None => self.compute(i256::from_i128(x), i256::from_i128(y))?,
                    });
                }
            }
            _ => {
                for row in 0..rows {
                    let compute = || self.compute(left.wide(row), right.wide(row));
                    values.push(if is_null(row) { 0 } else { compute()? });
                }
            }
        }
        let nulls = has_nulls.then(|| (0..rows).map(|row| !is_null(row)).collect::<NullBuffer>());
        let array = Decimal128Array::new(values.into(), nulls);
        Ok(Arc::new(array.with_data_type(self.result.narrow_type())))
    }

    /// One result, exactly.
    fn compute(self, a: i256, b: i256) -> Result<i128> {
        if b == i256::ZERO && matches!(self.operation, Operation::Divide | Operation::Modulo) {
            return Err(divided_by_zero().into());
        }
        let value = self.exact(a, b).and_then(|value| narrow(value, self.result.digits));
        value.ok_or_else(|| too_large(self.operation, self.result).into())
    }

    fn exact(self, a: i256, b: i256) -> Option<i256> {
        let (left, right, to) = (self.left.scale, self.right.scale, self.result.scale);
        let both = left.max(right);
        match self.operation {
            Operation::Add => rescale(rescale(a, left, both)?.checked_add(rescale(b, right, both)?)?, both, to),
            Operation::Subtract => rescale(rescale(a, left, both)?.checked_sub(rescale(b, right, both)?)?, both, to),
            Operation::Modulo => rescale(rescale(a, left, both)?.checked_rem(rescale(b, right, both)?)?, both, to),
            Operation::Multiply => {
                let scale = left.checked_add(right)?;
                rescale(a.checked_mul(b)?, scale, to)
            }
            Operation::Divide => match u32::try_from(i16::from(to) + i16::from(right) - i16::from(left)) {
                Ok(exponent) => divide_scaled(a, b, exponent),
                Err(_) => {
                    let down = u32::try_from(i16::from(left) - i16::from(right) - i16::from(to)).ok()?;
                    divide_scaled(a, b.checked_mul(power(down)?)?, 0)
                }
            },
        }
    }
}

/// The same in 128 bits, where they suffice.
#[derive(Clone, Copy)]
struct Fast {
    operation: Operation,
    /// What operands are multiplied by first.
    left: i128,
    right: i128,
    /// What a product is divided by.
    down: i128,
    limit: i128,
}

impl Fast {
    fn of(work: Work) -> Option<Self> {
        let (left, right, to) = (work.left.scale, work.right.scale, work.result.scale);
        let up = |by: i8| narrow_power(u32::try_from(by).ok()?);
        let limit = narrow_power(u32::from(work.result.digits))?;
        let (left, right, down) = match work.operation {
            Operation::Multiply => (1, 1, up(left.checked_add(right)?.checked_sub(to)?)?),
            Operation::Divide => (up(to.checked_add(right)?.checked_sub(left)?)?, 1, 1),
            _ if to < left.max(right) => return None,
            _ => (up(to - left)?, up(to - right)?, 1),
        };
        Some(Self { operation: work.operation, left, right, down, limit })
    }

    /// `None` is for the long way to tell: it may be an error, or need more bits.
    fn compute(self, a: i128, b: i128) -> Option<i128> {
        let value = match self.operation {
            Operation::Add => a.checked_mul(self.left)?.checked_add(b.checked_mul(self.right)?)?,
            Operation::Subtract => a.checked_mul(self.left)?.checked_sub(b.checked_mul(self.right)?)?,
            Operation::Modulo => a.checked_mul(self.left)?.checked_rem(b.checked_mul(self.right)?)?,
            Operation::Multiply if self.down == 1 => a.checked_mul(b)?,
            Operation::Multiply => divide_rounded_narrow(a.checked_mul(b)?, self.down)?,
            Operation::Divide => divide_rounded_narrow(a.checked_mul(self.left)?, b)?,
        };
        (value < self.limit && value > -self.limit).then_some(value)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "decimal({}, {})", self.digits, self.scale)
    }
}

fn divided_by_zero() -> Error {
    let message = "division by zero; write the divisor as nullif(…, 0) to get NULL instead";
    Error::new(ErrorKind::Execution, message).of(Fault::DivisionByZero)
}

fn too_large(operation: Operation, result: Shape) -> Error {
    let symbol = operation.symbol();
    let message =
        format!("a result of `{symbol}` has too many digits; cast an operand to fewer of them result={result}");
    Error::new(ErrorKind::Execution, message).of(Fault::OutOfRange)
}

fn defect(what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("arithmetic of decimals was planned without {what}"))
}
