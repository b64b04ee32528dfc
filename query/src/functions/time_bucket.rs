//! `time_bucket(width, time[, origin])`: the begin of the stretch of that width in which a time is.
//!
//! Widths of days or less are counted from an origin, Monday 2000-01-03 if none is given; widths of months or years begin on the first of a
//! month, and of an origin, 2000-01-01 if none is given, only the month matters. Days are those of UTC, of 24 hours.
//!
//! Spec: `time_bucket` of TimescaleDB.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, Date32Array, TimestampMicrosecondArray},
    datatypes::{
        DataType, Date32Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
        TimestampMicrosecondType,
    },
};
use datafusion::{
    common::{Result as DataFusionResult, ScalarValue},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        preimage::PreimageResult,
        simplify::SimplifyContext,
        sort_properties::{ExprProperties, SortProperties},
    },
};

use super::{
    columns, is_text, misused,
    stretches::{DAY_US, Stretches, month_of},
    value,
};
use crate::{Error, ErrorKind, Result};

const NAME: &str = "time_bucket";
const USAGE: &str = "interval, time[, origin]";
/// Monday 2000-01-03, microseconds.
const MONDAY_US: i64 = 10_959 * DAY_US;
/// 2000-01-01, microseconds.
const CENTURY_US: i64 = 10_957 * DAY_US;

pub(super) fn time_bucket() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(TimeBucket { signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeBucket {
    signature: Signature,
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let ([width, time] | [width, time, _]) = types else { return Err(misused(NAME, USAGE, types).into()) };
        let is_width = matches!(width, DataType::Interval(_) | DataType::Duration(_)) || is_text(width);
        let time = match time {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32 | DataType::Date64 => DataType::Date32,
            other if is_text(other) => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => return Err(misused(NAME, USAGE, types).into()),
        };
        let is_origin = types.get(2).is_none_or(super::is_time);
        if !is_width || !is_origin {
            return Err(misused(NAME, USAGE, types).into());
        }
        let mut coerced = vec![DataType::Interval(IntervalUnit::MonthDayNano), time.clone(), time];
        coerced.truncate(types.len());
        Ok(coerced)
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        types.get(1).cloned().ok_or_else(|| misused(NAME, USAGE, types).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let (columns, is_scalar) = columns(&args)?;
        let ([width, times] | [width, times, _]) = columns.as_slice() else {
            return Err(misused(NAME, USAGE, &[]).into());
        };
        let widths = width.as_primitive::<IntervalMonthDayNanoType>();
        let origins = columns.get(2);
        let mut cut = Cut::default();
        let mut begins = Vec::with_capacity(times.len());
        for row in 0..times.len() {
            let is_null =
                widths.is_null(row) || times.is_null(row) || origins.is_some_and(|origins| origins.is_null(row));
            let origin_us = origins.map(|origins| us_at(origins, row));
            begins.push(match is_null {
                true => None,
                false => Some(cut.begin(widths.value(row), origin_us, us_at(times, row))?),
            });
        }
        let begins: ArrayRef = match times.data_type() {
            DataType::Timestamp(_, zone) => {
                Arc::new(TimestampMicrosecondArray::from(begins).with_timezone_opt(zone.clone()))
            }
            _ => {
                let day = |us: Option<i64>| us.and_then(|us| i32::try_from(us.div_euclid(DAY_US)).ok());
                Arc::new(begins.into_iter().map(day).collect::<Date32Array>())
            }
        };
        value(begins, is_scalar)
    }

    fn preimage(&self, args: &[Expr], value: &Expr, info: &SimplifyContext) -> DataFusionResult<PreimageResult> {
        let ([width, times] | [width, times, _]) = args else { return Ok(PreimageResult::None) };
        let (Some(ScalarValue::IntervalMonthDayNano(Some(width))), Some(value)) =
            (width.as_literal(), value.as_literal())
        else {
            return Ok(PreimageResult::None);
        };
        let origin_us = match args.get(2).map(|origin| origin.as_literal()) {
            None => None,
            Some(Some(ScalarValue::TimestampMicrosecond(Some(us), _))) => Some(*us),
            Some(_) => return Ok(PreimageResult::None),
        };
        match (stretches(*width, origin_us), value) {
            (Ok(stretches), ScalarValue::TimestampMicrosecond(Some(us), _))
                if info.get_data_type(times)? == value.data_type() =>
            {
                stretches.preimage(times, *us, value)
            }
            _ => Ok(PreimageResult::None),
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> DataFusionResult<SortProperties> {
        let ([width, times] | [width, times, _]) = inputs else { return Ok(SortProperties::Unordered) };
        let is_fixed = |input: &ExprProperties| input.sort_properties == SortProperties::Singleton;
        match is_fixed(width) && inputs.get(2).is_none_or(is_fixed) {
            true => Ok(times.sort_properties),
            false => Ok(SortProperties::Unordered),
        }
    }
}

/// Cuts times one after another: mostly one width, and times of one stretch.
#[derive(Default)]
struct Cut {
    by: Option<(IntervalMonthDayNano, Option<i64>, Stretches)>,
    last: Range<i64>,
}

impl Cut {
    fn begin(&mut self, width: IntervalMonthDayNano, origin_us: Option<i64>, us: i64) -> Result<i64> {
        let stretches = match self.by {
            Some((known, of, stretches)) if known == width && of == origin_us => stretches,
            _ => {
                let stretches = stretches(width, origin_us)?;
                (self.by, self.last) = (Some((width, origin_us, stretches)), 0..0);
                stretches
            }
        };
        if !self.last.contains(&us) {
            let beyond = || Error::new(ErrorKind::Execution, format!("{NAME}: a time is beyond the calendar us={us}"));
            self.last = stretches.around(us).ok_or_else(beyond)?;
        }
        Ok(self.last.start)
    }
}

/// The stretches of a width.
fn stretches(width: IntervalMonthDayNano, origin_us: Option<i64>) -> Result<Stretches> {
    let refused = |why: &str| Err(Error::new(ErrorKind::Invalid, format!("{NAME}: {why}")));
    let IntervalMonthDayNano { months, days, nanoseconds } = width;
    if months != 0 {
        if days != 0 || nanoseconds != 0 {
            return refused("a width of months has no days or hours, since months differ in length");
        }
        let Some(origin) = month_of(origin_us.unwrap_or(CENTURY_US)).filter(|_| months > 0) else {
            return refused("the width must be greater than 0, and the origin a time of the calendar");
        };
        return Ok(Stretches::Months { count: months, origin });
    }
    let step_us = i64::from(days).saturating_mul(DAY_US).saturating_add(nanoseconds / 1000);
    if step_us <= 0 {
        return refused("the width must be at least a microsecond");
    }
    Ok(Stretches::Even { step_us, origin_us: origin_us.unwrap_or(MONDAY_US) })
}

/// A time or the midnight of a day, microseconds.
fn us_at(times: &ArrayRef, row: usize) -> i64 {
    match times.data_type() {
        DataType::Date32 => i64::from(times.as_primitive::<Date32Type>().value(row)) * DAY_US,
        _ => times.as_primitive::<TimestampMicrosecondType>().value(row),
    }
}
