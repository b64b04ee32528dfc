//! Casts of texts and decimals to a decimal.
//!
//! Planned by `plan` in place of DataFusion's casts, which do not know `1.81E-8` and round halves up.
//!
//! Invariant: what does not fit is an error, or NULL in `try_cast`; nothing passes through a float.

use std::{fmt, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, PrimitiveArray},
    compute::cast,
    datatypes::{DataType, Decimal128Type, Decimal256Type, i256},
};
use datafusion::{
    common::{Result, ScalarValue},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, expr::ScalarFunction,
    },
};

use super::{
    shape::Shape,
    wide::{DIGITS_MAX, Unread, WIDE_DIGITS_MAX, fits, narrow, parse, rescale},
};
use crate::{Error, ErrorKind, Fault};

/// A cast to one type.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Convert {
    to: DataType,
    /// Is what cannot be cast NULL?
    lenient: bool,
    signature: Signature,
}

impl Convert {
    /// Is this a cast that is done here?
    pub(super) fn applies(from: &DataType, to: &DataType) -> bool {
        let Some(shape) =
            Shape::of_type(to).filter(|_| matches!(to, DataType::Decimal128(..) | DataType::Decimal256(..)))
        else {
            return false;
        };
        match from {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
            DataType::Dictionary(_, values) => values.is_string(),
            // Others are exact, and DataFusion can see through them.
            DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale) => *scale > shape.scale,
            _ => false,
        }
    }

    pub(super) fn call(value: Expr, to: DataType, lenient: bool) -> Expr {
        let function = Self { to, lenient, signature: Signature::any(1, Volatility::Immutable) };
        Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(ScalarUDF::from(function)), vec![value]))
    }

    fn array(&self, array: &ArrayRef) -> Result<ArrayRef> {
        let shape = Shape::of_type(&self.to).unwrap_or(Shape { digits: DIGITS_MAX, scale: 0 });
        let is_narrow = matches!(self.to, DataType::Decimal128(..));
        let digits = if is_narrow { shape.digits.min(DIGITS_MAX) } else { shape.digits.min(WIDE_DIGITS_MAX) };
        let values: Vec<Option<i256>> = match array.data_type() {
            DataType::Decimal128(_, scale) => {
                let values = array.as_primitive::<Decimal128Type>().iter();
                let values = values.map(|v| self.scaled(v.map(i256::from_i128), *scale, shape, digits));
                values.collect::<Result<_>>()?
            }
            DataType::Decimal256(_, scale) => {
                let values = array.as_primitive::<Decimal256Type>().iter();
                values.map(|v| self.scaled(v, *scale, shape, digits)).collect::<Result<_>>()?
            }
            _ => {
                let texts = cast(array, &DataType::Utf8)?;
                texts.as_string::<i32>().iter().map(|v| self.read(v, shape, digits)).collect::<Result<_>>()?
            }
        };
        Ok(if is_narrow {
            let values = values.into_iter().map(|v| v.and_then(|v| narrow(v, digits)));
            Arc::new(values.collect::<PrimitiveArray<Decimal128Type>>().with_data_type(self.to.clone()))
        } else {
            Arc::new(values.into_iter().collect::<PrimitiveArray<Decimal256Type>>().with_data_type(self.to.clone()))
        })
    }

    fn scaled(&self, value: Option<i256>, scale: i8, to: Shape, digits: u8) -> Result<Option<i256>> {
        let Some(value) = value else { return Ok(None) };
        let scaled = rescale(value, scale, to.scale).filter(|v| fits(*v, digits));
        self.or_null(scaled, || failed(Fault::OutOfRange, to, &value))
    }

    fn read(&self, text: Option<&str>, to: Shape, digits: u8) -> Result<Option<i256>> {
        let Some(text) = text else { return Ok(None) };
        let read = parse(text, to.scale).and_then(|v| fits(v, digits).then_some(v).ok_or(Unread::TooLarge));
        let fault = match read {
            Err(Unread::Malformed) => Fault::BadText,
            _ => Fault::OutOfRange,
        };
        let shown: String = text.chars().take(60).collect();
        self.or_null(read.ok(), || failed(fault, to, &format!("{shown:?}")))
    }

    fn or_null(&self, value: Option<i256>, error: impl FnOnce() -> Error) -> Result<Option<i256>> {
        if value.is_none() && !self.lenient { Err(error().into()) } else { Ok(value) }
    }
}

impl ScalarUDFImpl for Convert {
    fn name(&self) -> &'static str {
        "decimal_cast"
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        Ok(format!("decimal_cast({} AS {})", args.join(", "), self.to))
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|arg| arg.schema_name().to_string()).collect();
        Ok(args.join(", "))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.to.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.first() {
            Some(ColumnarValue::Array(array)) => Ok(ColumnarValue::Array(self.array(array)?)),
            Some(ColumnarValue::Scalar(value)) => {
                let array = self.array(&value.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?))
            }
            None => Err(Error::new(ErrorKind::Internal, "a cast was planned without a value").into()),
        }
    }
}

fn failed(fault: Fault, to: Shape, value: &impl fmt::Display) -> Error {
    let why = match fault {
        Fault::BadText => "a text is no number and cannot be cast to",
        _ => "a number has too many digits for",
    };
    Error::new(ErrorKind::Execution, format!("{why} a decimal type type={to} value={value}")).of(fault)
}
