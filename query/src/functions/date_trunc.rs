//! `date_trunc(unit, time)`, quick for times in UTC, and read as a stretch of time where it is compared.
//!
//! Registered in place of DataFusion's, which takes a time with a zone apart by calendar row by row, two thirds of a month's sum; of times
//! that are stored otherwise it does what that does. Invariant: both give the same.

use std::{cell::Cell, sync::Arc};

use arrow::{
    array::{AsArray, PrimitiveArray},
    datatypes::{DataType, FieldRef, TimeUnit, TimestampMicrosecondType},
};
use datafusion::{
    common::{Result, ScalarValue},
    functions::datetime,
    logical_expr::{
        ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        preimage::PreimageResult,
        simplify::SimplifyContext,
        sort_properties::{ExprProperties, SortProperties},
    },
};

use super::stretches::{DAY_US, SECOND_US, Stretches};

pub(super) fn date_trunc() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(DateTrunc(datetime::date_trunc())))
}

/// With that of DataFusion, for other types.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DateTrunc(Arc<ScalarUDF>);

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.0.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.0.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [ColumnarValue::Scalar(unit), ColumnarValue::Array(times)] = args.args.as_slice()
            && let Some(stretches) = stretches(unit)
            && is_utc(times.data_type())
        {
            // Times come in stretches: those of a day, a month.
            let last = Cell::new((0, 0));
            let truncate = |us| {
                if !(last.get().0..last.get().1).contains(&us) {
                    let stretch = stretches.around(us).ok_or(())?;
                    last.set((stretch.start, stretch.end));
                }
                Ok::<i64, ()>(last.get().0)
            };
            let truncated = times.as_primitive::<TimestampMicrosecondType>().try_unary(truncate);
            // What no calendar has is an error, which the other one words.
            if let Ok(truncated) = truncated {
                let truncated: PrimitiveArray<TimestampMicrosecondType> = truncated;
                return Ok(ColumnarValue::Array(Arc::new(truncated.with_data_type(times.data_type().clone()))));
            }
        }
        self.0.invoke_with_args(args)
    }

    fn preimage(&self, args: &[Expr], value: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        let ([unit, times], Some(value @ ScalarValue::TimestampMicrosecond(Some(us), _))) = (args, value.as_literal())
        else {
            return Ok(PreimageResult::None);
        };
        let data_type = info.get_data_type(times)?;
        match unit.as_literal().and_then(stretches) {
            Some(stretches) if is_utc(&data_type) && value.data_type() == data_type => {
                stretches.preimage(times, *us, value)
            }
            _ => Ok(PreimageResult::None),
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.0.output_ordering(inputs)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }
}

/// Is a type that of stored times, or one without a zone?
fn is_utc(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, zone) if zone.as_deref().is_none_or(|zone| zone == "UTC"))
}

/// The stretches of a unit.
fn stretches(unit: &ScalarValue) -> Option<Stretches> {
    // A week is from Monday, and the epoch is a Thursday.
    const WEEK: Stretches = Stretches::Even { step_us: 7 * DAY_US, origin_us: -3 * DAY_US };
    let months = |count| Stretches::Months { count, origin: 0 };
    Some(match unit.try_as_str().flatten()?.to_lowercase().as_str() {
        "second" => Stretches::even(SECOND_US),
        "minute" => Stretches::even(60 * SECOND_US),
        "hour" => Stretches::even(3600 * SECOND_US),
        "day" => Stretches::even(DAY_US),
        "week" => WEEK,
        "month" => months(1),
        "quarter" => months(3),
        "year" => months(12),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
    use datafusion::{arrow::datatypes::Field, config::ConfigOptions};
    use proptest::prelude::*;

    use super::*;

    fn truncated(function: &ScalarUDF, unit: &str, times: &ArrayRef) -> ArrayRef {
        let field = |data_type: &DataType| Arc::new(Field::new("x", data_type.clone(), true));
        let args = ScalarFunctionArgs {
            args: vec![ColumnarValue::Scalar(unit.into()), ColumnarValue::Array(Arc::clone(times))],
            arg_fields: vec![field(&DataType::Utf8), field(times.data_type())],
            number_rows: times.len(),
            return_field: field(times.data_type()),
            config_options: Arc::new(ConfigOptions::default()),
        };
        function.invoke_with_args(args).unwrap().into_array(times.len()).unwrap()
    }

    proptest! {
        #[test]
        fn times_are_truncated_as_without_us(
            times in proptest::collection::vec(proptest::option::of(-62_135_596_800_000_000_i64 / 8..7_000_000_000_000_000), 0..50),
            unit in proptest::sample::select(vec!["second", "Minute", "HOUR", "day", "week", "month", "quarter", "year", "millisecond"]),
            zone in proptest::sample::select(vec![None, Some("UTC"), Some("Europe/Berlin")]),
        ) {
            let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone_opt(zone));
            prop_assert_eq!(&truncated(&date_trunc(), unit, &times), &truncated(&datetime::date_trunc(), unit, &times));
        }
    }
}
